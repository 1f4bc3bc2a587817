//! `bench`: measures what is built, beside others that do the same job. Each measurement is a
//! module and a subcommand of its own; none of them is a test.

fn main() {}
