//! Builds that lack a cloud.

use super::*;

/// Holds in every build: each says what it lacks, and nothing of what it has.
#[test]
fn a_login_that_this_build_lacks_names_the_feature_that_brings_it() {
    for (kind, registry, feature, has) in [
        (
            "ecr",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "aws",
            cfg!(feature = "aws"),
        ),
        ("gcp", "europe-docker.pkg.dev", "gcp", cfg!(feature = "gcp")),
        (
            "acr",
            "example.azurecr.io",
            "azure",
            cfg!(feature = "azure"),
        ),
    ] {
        let text = format!("[upstreams.\"{registry}\"]\ncredentials = \"{kind}\"\n");
        let lacking = format!(
            "f.toml:2: upstreams.\"{registry}\".credentials: this forebay was built without it: build it with the \
             feature `{feature}`, or write \"docker-config\" and use a credential helper"
        );
        match load_text(&text) {
            Ok(_) => assert!(has, "{kind}"),
            told => assert_eq!(errors(told), [lacking], "{kind}, built with it: {has}"),
        }
        assert_eq!(load_text(&text).is_ok(), has, "{kind}");
    }
}
