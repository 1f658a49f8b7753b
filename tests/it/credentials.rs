//! Logins that forebay has to ask for.

mod acr;
mod docker_config;
mod ecr;
mod gcp;
