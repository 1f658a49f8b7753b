//! Every registry that people use, as its description has it: the same image pulled from each, to the request.
//!
//! `profile` is a registry and a mirror of it, `pulls` the pulls and what they cost, `secrets` what may be seen nowhere. The
//! costs are in `config/registries.md`, which is held against what is measured here. `real` are registries that we did not
//! write.

mod logins;
pub(crate) mod profile;
mod pulls;
pub(crate) mod real;
mod secrets;
