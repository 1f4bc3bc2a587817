mod control;
#[allow(unused)]
mod support;
