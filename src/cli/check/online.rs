//! `forebay check --online`
//!
//! ```text
//! $ forebay check --online
//! docker.io at https://registry-1.docker.io, by [upstreams."docker.io"]
//!   ok    name      registry-1.docker.io is 98.85.153.80, 54.198.86.24, 2600:1f18:2148:bc02::1 and 5 more
//!   ok    registry  GET /v2/ is answered after 118 ms, and asks for a token of auth.docker.io
//!   ok    login     user `ci` (`username`) gets a token of auth.docker.io, which is accepted
//!   ok    quota     187 of 200 pulls in 6 h are left, counted for ci
//!
//! registry.example.com at https://registry.example.com, by [upstreams."registry.example.com"]
//!   ok    name      registry.example.com is 192.0.2.17
//!   FAIL  registry  invalid peer certificate: UnknownIssuer; set ca_file for this upstream if its authority is a private one
//!
//! not checked, since each stands for many registries: *.pkg.dev, *.gcr.io, ecr
//! name one to check it: forebay check --online 123456789012.dkr.ecr.eu-west-1.amazonaws.com
//!
//! 1 of 2 endpoints can't be pulled from
//! ```
//!
//! An upstream with several endpoints has a part for each. What failed ends its part, with a line `change` below it where the
//! finding itself does not say what to do. On a terminal the marks are signs in colour.

use super::{print, target};
use crate::app;
use crate::cli::{Exit, ended};
use crate::config::{Config, Routes};
use crate::upstream::{Report, Target};

/// Looks, and prints what is found as it is found.
pub(super) fn run(config: &Config, named: &[String], json: bool) -> Exit {
    let targets = if named.is_empty() {
        everything(config)
    } else {
        match target::parse(named, &Routes::new(config)) {
            Ok(targets) => targets,
            Err(message) => {
                eprintln!("error: {message}");
                return Exit::Usage;
            }
        }
    };
    let left_out = if named.is_empty() {
        families(config)
    } else {
        Vec::new()
    };
    let mut printer = print::Printer::new(json, left_out);
    let looked = app::probe(config, &targets, |report: Report| printer.report(report));
    if let Err(error) = looked {
        eprintln!("error: {error}");
        return if error.is_bad_config() {
            Exit::BadConfig
        } else {
            Exit::Failure
        };
    }
    ended(printer.finish().map(|all_well| {
        if all_well {
            Exit::Success
        } else {
            Exit::Failure
        }
    }))
}

/// Every upstream that is one registry.
fn everything(config: &Config) -> Vec<Target> {
    let exact = config.upstreams.iter().filter_map(|upstream| {
        Some(Target {
            registry: upstream.registry.exact()?.clone(),
            images: Vec::new(),
        })
    });
    exact.collect()
}

/// The others, which can't be looked at as such.
fn families(config: &Config) -> Vec<String> {
    let families = config
        .upstreams
        .iter()
        .filter(|upstream| upstream.registry.exact().is_none());
    families
        .map(|upstream| upstream.registry.to_string())
        .collect()
}
