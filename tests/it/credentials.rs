//! Logins that forebay has to ask for.

mod docker_config;
mod ecr;
