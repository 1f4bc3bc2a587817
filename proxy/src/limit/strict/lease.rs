//! What a proxy holds of one strict limit: units that the store has granted and nobody has used
//! yet, requests that wait for an answer, and for how long the store's refusal stands. Concurrent
//! requests are asked for together, and a limit in demand is asked for in advance, by as much as
//! its last lease was used up; so a hot limit costs one call in many requests.
//!
//! It decides nothing by itself and does no I/O; times are arguments. Units expire, because one
//! that was granted earlier and used later would add to another window's. What has expired goes
//! back with the next call.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What the store said of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Units granted of those that were asked for, taken from the limit.
    pub granted: u64,
    /// How full the limit was then, the granted units included: microseconds until a rate limit's
    /// bucket is full again, or the units used of a quota.
    pub level: u64,
    /// After a grant of less than was wanted, how long it is no use to ask again.
    pub wait: Duration,
}

/// A call to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub want: u64,
    /// Granted earlier, and not used.
    pub give_back: u64,
    /// Used without a grant, while the store could not be asked.
    pub debt: u64,
    pub at: Instant,
}

/// Whether a request passes, and the store's last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub passes: bool,
    pub reply: Reply,
    /// When `reply` was true.
    pub at: Instant,
    /// Units that are still held here.
    pub held: u64,
}

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Begun {
    Decided(Verdict),
    /// The verdict comes; a sender that is dropped says that it doesn't.
    Waiting(oneshot::Receiver<Verdict>),
}

/// The bounds of one limit's leases.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most units to ask for in advance.
    pub most: u64,
    /// How long they may be used.
    pub lifetime: Duration,
}

#[derive(Debug)]
pub struct Lease {
    held: u64,
    expires: Instant,
    /// Units to ask for in advance.
    size: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Verdict>)>,
    /// A call is under way; it takes up whoever waits when it ends.
    asking: bool,
    asked: Option<Instant>,
    /// Units have expired since the last call.
    wasted: bool,
    give_back: u64,
    pub debt: u64,
    last: Option<(Reply, Instant)>,
    refused_until: Option<Instant>,
    pub used: Instant,
}

impl Lease {
    pub fn new(now: Instant) -> Self {
        Self {
            held: 0,
            expires: now,
            size: 0,
            waiting: VecDeque::new(),
            asking: false,
            asked: None,
            wasted: false,
            give_back: 0,
            debt: 0,
            last: None,
            refused_until: None,
            used: now,
        }
    }

    /// Takes `units` for one request. The second value is a call that must be made, and answered by
    /// [`Lease::answer`] or [`Lease::fail`].
    pub fn begin(&mut self, units: u64, bounds: Bounds, now: Instant) -> (Begun, Option<Ask>) {
        self.used = now;
        self.expire(now);
        if self.waiting.is_empty()
            && self.held >= units
            && let Some((reply, at)) = self.last
        {
            self.held -= units;
            // In advance, so that nobody waits while the limit is in steady demand.
            let soon = self.held < self.size / 4 || now + bounds.lifetime / 2 >= self.expires;
            let ask = (!self.asking && self.size > 0 && soon).then(|| self.ask(bounds, now));
            let verdict = Verdict { passes: true, reply, at, held: self.held };
            return (Begun::Decided(verdict), ask.flatten());
        }
        if let Some((reply, at)) = self.last
            && self.refused_until.is_some_and(|until| now < until)
        {
            let verdict = Verdict { passes: false, reply, at, held: self.held };
            return (Begun::Decided(verdict), None);
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back((units, sender));
        let ask = if self.asking { None } else { self.ask(bounds, now) };
        (Begun::Waiting(receiver), ask)
    }

    fn expire(&mut self, now: Instant) {
        if self.held > 0 && now >= self.expires {
            self.give_back += std::mem::take(&mut self.held);
            self.wasted = true;
        }
    }

    /// The next call, if there is anything to ask or to tell.
    fn ask(&mut self, bounds: Bounds, now: Instant) -> Option<Ask> {
        let in_demand = self.asked.is_some_and(|at| now.duration_since(at) < bounds.lifetime);
        self.size = match self.size {
            size if in_demand && !std::mem::take(&mut self.wasted) => (size * 2).max(1),
            size => size / 2,
        }
        .min(bounds.most);
        let waiting: u64 = self.waiting.iter().map(|(units, _)| units).sum();
        let ask = Ask {
            want: waiting + self.size,
            give_back: std::mem::take(&mut self.give_back),
            debt: std::mem::take(&mut self.debt),
            at: now,
        };
        self.asking = ask.want > 0 || ask.give_back > 0 || ask.debt > 0;
        self.asked = Some(now);
        self.asking.then_some(ask)
    }

    /// Gives what nobody has used for a while back: a call that asks for nothing.
    pub fn surrender(&mut self, now: Instant) -> Option<Ask> {
        if self.asking || now < self.expires {
            return None;
        }
        self.expire(now);
        if self.give_back == 0 && self.debt == 0 {
            return None;
        }
        self.size = 0;
        self.asking = true;
        let (give_back, debt) =
            (std::mem::take(&mut self.give_back), std::mem::take(&mut self.debt));
        Some(Ask { want: 0, give_back, debt, at: now })
    }

    /// Hands out what was granted to those that wait, in their order; says what to ask next.
    pub fn answer(&mut self, ask: Ask, reply: Reply, bounds: Bounds, now: Instant) -> Option<Ask> {
        // Older units would live longer with these.
        self.give_back += std::mem::take(&mut self.held);
        self.held = reply.granted;
        self.expires = ask.at + bounds.lifetime;
        self.last = Some((reply, now));
        self.refused_until = (reply.granted < ask.want).then(|| now + reply.wait);
        while let Some((units, sender)) = self.waiting.pop_front() {
            let passes = units <= self.held;
            if !passes && self.refused_until.is_none() {
                // It came after the call.
                self.waiting.push_front((units, sender));
                break;
            }
            let held = self.held - if passes { units } else { 0 };
            // One that has gone leaves its units to the others.
            if sender.send(Verdict { passes, reply, at: now, held }).is_ok() {
                self.held = held;
            }
        }
        self.asking = false;
        if self.waiting.is_empty() { None } else { self.ask(bounds, now) }
    }

    /// Units that were used are not, after all.
    pub fn put_back(&mut self, units: u64) {
        self.give_back += units;
    }

    /// The call has failed: those that wait are told so. What it told may not have arrived; a debt
    /// is told again, while units to give back are rather lost than given twice. Units that were
    /// `granted` all the same go back.
    pub fn fail(&mut self, ask: Ask, granted: u64) {
        self.debt += ask.debt;
        self.give_back += granted;
        self.asking = false;
        self.waiting.clear();
    }

    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// Nothing is held, owed or waited for.
    pub fn is_idle(&self) -> bool {
        !self.asking && self.held == 0 && self.give_back == 0 && self.debt == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BOUNDS: Bounds = Bounds { most: 64, lifetime: Duration::from_millis(10) };

    fn granted(granted: u64) -> Reply {
        Reply { granted, level: 0, wait: 50 * MS }
    }

    fn passes(begun: Begun) -> Option<bool> {
        match begun {
            Begun::Decided(verdict) => Some(verdict.passes),
            Begun::Waiting(mut receiver) => receiver.try_recv().ok().map(|it| it.passes),
        }
    }

    #[test]
    fn those_that_come_while_a_call_is_under_way_are_asked_for_together() {
        let now = Instant::now();
        let mut lease = Lease::new(now);
        let (first, ask) = lease.begin(1, BOUNDS, now);
        let ask = ask.expect("nothing is held");
        assert_eq!(ask.want, 1);
        let others = [(); 3].map(|()| {
            let (begun, ask) = lease.begin(1, BOUNDS, now);
            assert_eq!(ask, None);
            begun
        });
        let next = lease.answer(ask, granted(1), BOUNDS, now + MS).expect("three wait");
        assert_eq!(passes(first), Some(true));
        assert_eq!(next.want, 3 + 1, "and one more, as the limit is in demand");
        assert_eq!(lease.answer(next, granted(2), BOUNDS, now + 2 * MS), None);
        assert_eq!(others.map(passes), [Some(true), Some(true), Some(false)]);
        // For as long as the store said, it is not asked again.
        let (begun, ask) = lease.begin(1, BOUNDS, now + 51 * MS);
        assert_eq!((passes(begun), ask), (Some(false), None));
        assert!(lease.begin(1, BOUNDS, now + 52 * MS).1.is_some());
    }

    #[test]
    fn leases_grow_with_demand_and_what_expires_goes_back() {
        let mut now = Instant::now();
        let mut lease = Lease::new(now);
        let mut calls = 0_u64;
        for _ in 0..1_000 {
            let (begun, ask) = lease.begin(1, BOUNDS, now);
            let mut next = ask;
            while let Some(ask) = next {
                calls += 1;
                next = lease.answer(ask, granted(ask.want), BOUNDS, now);
            }
            assert_eq!(passes(begun), Some(true));
            now += MS / 50;
        }
        assert!(calls < 60, "{calls} calls for 1,000 requests");
        let held = lease.held;
        assert!(held > 0);
        let ask = lease.surrender(now + 10 * MS).expect("it has expired");
        assert!(ask.want == 0 && ask.give_back >= held, "{ask:?}");
        assert_eq!(lease.answer(ask, granted(0), BOUNDS, now + 11 * MS), None);
        assert!(lease.is_idle());
    }

    #[test]
    fn nobody_waits_while_a_limit_is_in_steady_demand() {
        let mut now = Instant::now();
        let mut lease = Lease::new(now);
        let (mut waited, mut open) = (0, None::<(Ask, Instant)>);
        for n in 0..2_000 {
            if let Some((ask, _)) = open.take_if(|(_, due)| *due <= now) {
                open = lease.answer(ask, granted(ask.want), BOUNDS, now).map(|it| (it, now + MS));
            }
            let (begun, ask) = lease.begin(1, BOUNDS, now);
            // Those of the beginning don't count.
            waited += usize::from(n > 500 && matches!(begun, Begun::Waiting(_)));
            open = ask.map(|ask| (ask, now + MS)).or(open);
            now += MS / 5;
        }
        assert_eq!(waited, 0);
    }

    #[test]
    fn a_failed_call_tells_who_waits_and_keeps_the_debt() {
        let now = Instant::now();
        let mut lease = Lease::new(now);
        lease.debt = 5;
        let (begun, ask) = lease.begin(1, BOUNDS, now);
        lease.fail(ask.expect("a call"), 0);
        let Begun::Waiting(mut receiver) = begun else { panic!("decided") };
        assert!(receiver.try_recv().is_err());
        assert_eq!(lease.begin(1, BOUNDS, now).1.expect("a call").debt, 5);
    }

    proptest! {
        /// Whatever comes in whatever order, no more pass than were granted and not given back.
        #[test]
        fn no_more_pass_than_were_granted(
            steps in prop::collection::vec((0_u8..4, 1_u64..4, 0_u64..6), 1..300),
        ) {
            let mut now = Instant::now();
            let mut lease = Lease::new(now);
            let mut open: Option<Ask> = None;
            let mut receivers = Vec::new();
            let (mut granted_in_all, mut passed) = (0_i64, 0_i64);
            for (action, units, number) in steps {
                now += MS * u32::try_from(number).expect("small");
                match action {
                    0 | 1 => {
                        let (begun, ask) = lease.begin(units, BOUNDS, now);
                        if let Some(ask) = ask {
                            prop_assert!(open.replace(ask).is_none(), "one call at a time");
                        }
                        match begun {
                            Begun::Decided(verdict) if verdict.passes => {
                                passed += units.cast_signed();
                            }
                            // Some lose patience.
                            Begun::Waiting(receiver) if number > 1 => {
                                receivers.push((units, receiver));
                            }
                            Begun::Decided(_) | Begun::Waiting(_) => {}
                        }
                    }
                    2 => if let Some(ask) = open.take() {
                        let granted = ask.want.min(number);
                        granted_in_all += granted.cast_signed() - ask.give_back.cast_signed();
                        let reply = Reply { granted, level: 0, wait: MS };
                        open = lease.answer(ask, reply, BOUNDS, now);
                    },
                    _ => if let Some(ask) = open.take() {
                        // Lost on its way there or back.
                        lease.fail(ask, 0);
                    },
                }
                receivers.retain_mut(|(units, receiver)| match receiver.try_recv() {
                    Ok(verdict) => {
                        passed += if verdict.passes { units.cast_signed() } else { 0 };
                        false
                    }
                    Err(error) => error == oneshot::error::TryRecvError::Empty,
                });
                prop_assert!(passed <= granted_in_all + open.map_or(0, |it| it.give_back.cast_signed()));
            }
        }
    }
}
