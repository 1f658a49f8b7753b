//! Whom a cloud's login may be given to.

use super::*;

/// `credentials = "gcp"` was taken for any host: an access token to all of a project went as a password to wherever the table
/// led, in the clear if it said so, and with a pattern to whomever a client named.
#[test]
fn a_clouds_login_is_for_its_own_registries_over_https() {
    const GOOGLE: &str = "credentials = 'gcp'";
    const AZURE: &str = "credentials = 'acr'";
    for (registry, lines, login) in [
        ("europe-docker.pkg.dev", "", GOOGLE),
        ("*.pkg.dev", "", GOOGLE),
        ("gcr.io", "", GOOGLE),
        ("*.gcr.io", "", GOOGLE),
        ("me.azurecr.io", "", AZURE),
        ("*.azurecr.io", "", AZURE),
        ("me.azurecr.cn", "", AZURE),
        (
            "mirror.example",
            "endpoints = ['https://me.azurecr.us']",
            AZURE,
        ),
        ("a.io", "trusted_realms = ['a.io']", GOOGLE),
        (
            "me.azurecr.io",
            "endpoints = ['http://127.0.0.1:5001']\ntrusted_realms = ['127.0.0.1:5001']",
            AZURE,
        ),
    ] {
        let text = format!("[upstreams.'{registry}']\n{login}\n{lines}\n");
        let loaded = load_text(&text);
        assert!(loaded.is_ok(), "{text} {:?}", loaded.unwrap_err());
    }
    for (registry, lines, login, what) in [
        ("docker.io", "", GOOGLE, "https://registry-1.docker.io/"),
        ("me.azurecr.io", "", GOOGLE, "https://me.azurecr.io/"),
        ("gcr.io", "", AZURE, "https://gcr.io/"),
        ("azurecr.io", "", AZURE, "https://azurecr.io/"),
        ("evil-gcr.io", "", GOOGLE, "https://evil-gcr.io/"),
        (
            "a.pkg.dev.example",
            "",
            GOOGLE,
            "https://a.pkg.dev.example/",
        ),
        ("*.example.com", "", AZURE, "*.example.com"),
        ("*.io", "", AZURE, "*.io"),
        ("ecr", "", GOOGLE, "ecr"),
        (
            "gcr.io",
            "endpoints = ['http://gcr.io']",
            GOOGLE,
            "http://gcr.io/",
        ),
        (
            "gcr.io",
            "endpoints = ['https://gcr.io', 'https://10.0.0.1']",
            GOOGLE,
            "https://10.0.0.1/",
        ),
        (
            "a.io",
            "endpoints = ['http://127.0.0.1:5001']\ntrusted_realms = ['127.0.0.1:5002']",
            GOOGLE,
            "http://127.0.0.1:5001/",
        ),
    ] {
        let text = format!("[upstreams.'{registry}']\n{login}\n{lines}\n");
        let told = errors(load_text(&text));
        let expected = format!("to `{what}`, which is none of its registries over https");
        assert_eq!(told.len(), 1, "{text} {told:?}");
        assert!(told[0].contains(&expected), "{text} {told:?}");
        assert!(told[0].contains("f.toml:2"), "{told:?}");
    }
}
