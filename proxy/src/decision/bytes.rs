//! A decision as bytes: numbers in seven-bit groups, texts with their length before them, in the
//! order of the fields. Only this process reads what it wrote, so there are no versions; bytes that
//! are none are `None`, never a panic.

use super::{Decision, Quota, RateLimit, Sample, Text};

impl<'a> Decision<'a> {
    /// Appends its bytes. Inlined, so that what is made for this is not put together first.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let w = &mut Writer(out);
        w.signed(self.time);
        w.text(&self.request_id);
        w.texts([&self.trace_id, &self.workspace, &self.application, &self.key]);
        w.texts([&self.presented_key, &self.protocol, &self.user_agent, &self.code]);
        w.texts([&self.cause, &self.detail, &self.route, &self.upstream]);
        w.text(&self.method);
        w.text(&self.path);
        w.text(&self.client);
        w.number(self.status.into());
        w.number(self.latency_us);
        w.number(self.bytes_in);
        w.number(self.bytes_out);
        w.number(self.attempts.into());
        w.numbers([self.admission_us, self.upstream_us, self.revision, self.retry_after]);
        w.numbers([self.units.map(u64::from)]);
        w.flag(self.rate_limit.is_some());
        if let Some(limit) = &self.rate_limit {
            w.text(&limit.level);
            w.text(&limit.mode);
            w.number(limit.requests.into());
            w.number(limit.window_ms);
            w.number(limit.burst.into());
            w.number(limit.remaining);
        }
        w.flag(self.quota.is_some());
        if let Some(quota) = &self.quota {
            w.text(&quota.level);
            w.number(quota.limit);
            w.text(&quota.period);
        }
        w.flag(self.sample.is_some());
        if let Some(sample) = &self.sample {
            w.text(&sample.rule);
            w.number(sample.ratio.to_bits());
        }
    }

    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let r = &mut Reader(bytes);
        let time = r.signed()?;
        let request_id = r.text()?;
        let [trace_id, workspace, application, key] = r.texts()?;
        let [presented_key, protocol, user_agent, code] = r.texts()?;
        let [cause, detail, route, upstream] = r.texts()?;
        let (method, path, client) = (r.text()?, r.text()?, r.text()?);
        let status = u16::try_from(r.number()?).ok()?;
        let (latency_us, bytes_in, bytes_out) = (r.number()?, r.number()?, r.number()?);
        let attempts = r.small()?;
        let [admission_us, upstream_us, revision, retry_after] = r.numbers()?;
        let [units] = r.numbers()?;
        let rate_limit = if r.flag()? {
            Some(RateLimit {
                level: r.text()?,
                mode: r.text()?,
                requests: r.small()?,
                window_ms: r.number()?,
                burst: r.small()?,
                remaining: r.number()?,
            })
        } else {
            None
        };
        let quota = if r.flag()? {
            Some(Quota { level: r.text()?, limit: r.number()?, period: r.text()? })
        } else {
            None
        };
        let sample = if r.flag()? {
            Some(Sample { rule: r.text()?, ratio: f64::from_bits(r.number()?) })
        } else {
            None
        };
        Some(Self {
            time,
            request_id,
            trace_id,
            workspace,
            application,
            key,
            presented_key,
            method,
            path,
            protocol,
            user_agent,
            client,
            status,
            code,
            cause,
            detail,
            latency_us,
            admission_us,
            upstream_us,
            bytes_in,
            bytes_out,
            revision,
            route,
            units: units.map(u32::try_from).transpose().ok()?,
            rate_limit,
            quota,
            retry_after,
            upstream,
            attempts,
            sample,
        })
    }

    /// Time and request id only, which come first.
    pub fn read_name(bytes: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let r = &mut Reader(bytes);
        Some((r.signed()?, r.bytes()?))
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    #[inline]
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    #[inline]
    fn signed(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn flag(&mut self, value: bool) {
        self.0.push(value.into());
    }

    #[inline]
    fn text(&mut self, text: &Text) {
        self.number(text.as_bytes().len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// 0 for none, else one more than the length.
    #[inline]
    fn texts<const N: usize>(&mut self, texts: [&Option<Text>; N]) {
        for text in texts {
            match text {
                None => self.0.push(0),
                Some(text) => {
                    self.number(text.as_bytes().len() as u64 + 1);
                    self.0.extend_from_slice(text.as_bytes());
                }
            }
        }
    }

    #[inline]
    fn numbers<const N: usize>(&mut self, numbers: [Option<u64>; N]) {
        for number in numbers {
            self.flag(number.is_some());
            if let Some(number) = number {
                self.number(number);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.byte()? != 0)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<Text<'a>> {
        self.bytes().map(Text::read)
    }

    fn texts<const N: usize>(&mut self) -> Option<[Option<Text<'a>>; N]> {
        let mut texts = [const { None }; N];
        for text in &mut texts {
            *text = match self.number()? {
                0 => None,
                more => Some(Text::read(self.take(more - 1)?)),
            };
        }
        Some(texts)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[Option<u64>; N]> {
        let mut numbers = [None; N];
        for number in &mut numbers {
            if self.flag()? {
                *number = Some(self.number()?);
            }
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(number: u64, text: &str) -> Decision<'_> {
        let some = || Some(Text::from(text));
        let small = u32::try_from(number & 0xffff_ffff).expect("32 bits");
        Decision {
            time: number.cast_signed(),
            request_id: text.into(),
            trace_id: some(),
            workspace: None,
            application: some(),
            key: some(),
            presented_key: None,
            method: text.into(),
            path: text.into(),
            protocol: some(),
            user_agent: some(),
            client: text.into(),
            status: 503,
            code: None,
            cause: some(),
            detail: None,
            latency_us: number,
            admission_us: Some(number),
            upstream_us: None,
            bytes_in: number,
            bytes_out: !number,
            revision: Some(number),
            route: some(),
            units: Some(small),
            rate_limit: Some(RateLimit {
                level: text.into(),
                mode: text.into(),
                requests: small,
                window_ms: number,
                burst: small,
                remaining: number,
            }),
            quota: Some(Quota { level: text.into(), limit: number, period: text.into() }),
            retry_after: Some(number),
            upstream: some(),
            attempts: small,
            sample: Some(Sample { rule: text.into(), ratio: 0.25 }),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number: u64, text in ".{0,300}") {
            for decision in [full(number, &text), Decision::default()] {
                let mut bytes = Vec::new();
                decision.write(&mut bytes);
                prop_assert_eq!(Decision::read(&bytes), Some(decision.clone()));
                prop_assert_eq!(
                    Decision::read_name(&bytes),
                    Some((decision.time, decision.request_id.as_bytes()))
                );
                for end in 0..bytes.len() {
                    prop_assert_eq!(Decision::read(&bytes[..end]), None);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Decision::read(&bytes);
        }
    }
}
