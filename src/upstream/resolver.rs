//! The resolver of hosts that the operator did not configure: what [`super::address`] refuses is
//! dropped from each answer, so a name that rebinds between two look-ups gains nothing.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{Refused, classify};

/// Asks the system, and keeps only the addresses that may be dialled.
#[derive(Debug)]
pub(crate) struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the connector's to fill in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept = keep_allowed(name.as_str(), found)?;
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be dialled; an error if there are others only.
pub(crate) fn keep_allowed(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Refused> {
    let mut refused = None;
    let mut kept = Vec::new();
    for address in found {
        match classify(address.ip()) {
            None => kept.push(address),
            Some(class) => refused = Some(class),
        }
    }
    match refused {
        Some(class) if kept.is_empty() => Err(Refused {
            host: host.to_owned(),
            resolved: true,
            class,
        }),
        _ => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Class;
    use super::*;

    #[test]
    fn forbidden_addresses_are_dropped_and_an_answer_of_only_such_is_an_error() {
        let public: SocketAddr = "8.8.8.8:0".parse().unwrap();
        let private: SocketAddr = "10.0.0.1:0".parse().unwrap();
        assert_eq!(
            keep_allowed("a.io", [private, public].into_iter()),
            Ok(vec![public])
        );
        let refused = keep_allowed("a.io", [private].into_iter()).unwrap_err();
        assert_eq!(
            (refused.host.as_str(), refused.class),
            ("a.io", Class::Private)
        );
        assert_eq!(keep_allowed("a.io", std::iter::empty()), Ok(vec![]));
    }
}
