//! Billing past its surfaces: what is collected, and how it is accounted for.
