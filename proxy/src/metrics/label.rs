//! Label values as enums: every value is known at compile time, so that cardinality is bounded by
//! the code, every series is there from the start (at 0, as `rate()` wants it), and counting on a
//! request's path is one addition to a counter that was looked up once. `docs/metrics.md` lists the
//! values; a test holds it to what is exposed.

use std::marker::PhantomData;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// A label's values, in the order of their places.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;

    /// Where it stands in `ALL`.
    fn place(self) -> usize;
}

/// Declares an enum whose variants are a label's values.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $value:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$about])* $value,)* }

        impl $crate::metrics::label::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label;

/// One counter per value of a label.
pub struct Counters<L> {
    counters: Box<[IntCounter]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub fn new(
        registry: &Registry,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<Self> {
        let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
        registry.register(Box::new(family.clone()))?;
        let counter = |value: &L| family.with_label_values(&[value.as_str()]);
        Ok(Self { counters: L::ALL.iter().map(counter).collect(), label: PhantomData })
    }

    pub fn inc(&self, value: L) {
        self.add(value, 1);
    }

    pub fn add(&self, value: L, count: u64) {
        self.counters[value.place()].inc_by(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denied::kind::Kind;
    use crate::metrics::Outcome;

    fn hold<L: Label + std::fmt::Debug>() {
        for (place, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.place(), place, "{value:?}");
            let text = value.as_str();
            assert!(
                text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
            );
            assert_eq!(L::ALL.iter().filter(|it| it.as_str() == text).count(), 1, "{text}");
        }
    }

    #[test]
    fn every_value_has_its_own_text_and_place() {
        hold::<Kind>();
        hold::<Outcome>();
    }
}
