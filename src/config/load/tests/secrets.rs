//! What is never said, whatever is wrong.

use super::*;
use crate::config::render;

#[test]
fn no_error_or_print_shows_a_secret() {
    let canary = "c4nary-s3cret";
    for text in [
        format!("[upstreams.'a.io']\npassword = '{canary}'\n"),
        format!("[upstreams.'a.io']\npassword = {canary}\n"),
        format!("[upstreams.'a.io']\npassword = ['{canary}']\n"),
        format!("[upstreams.'a.io']\npassword = '{canary}\n"),
        format!("[upstreams.'a.io']\npasswort = '{canary}'\n"),
        format!(
            "[upstreams.'a.io']\nusername = 'me'\npassword = '{canary}'\npassword_file = 'x'\n"
        ),
        format!("[upstreams.'a.io']\nendpoints = ['https://me:{canary}@a.io']\n"),
        format!("[upstreams.'a.io']\nendpoints = ['me:{canary}@a.io']\n"),
        format!("[upstreams.'a.io']\nhttp_proxy = 'me:{canary}@a.io:1'\n"),
        format!("[upstreams.'a.io']\nhttp_proxy = 'http://me:{canary}/@a.io:1'\n"),
        format!("[upstreams.'a.io']\nhttp_proxy = 'http://me:1#{canary}@a.io:1'\n"),
        format!("[upstreams.'a.io']\nhttp_proxy = ['http://me:{canary}@a.io:1']\n"),
        format!(
            "[upstreams.'a.io']\nhttp_proxy = 'http://me:{canary}@a.io:1'\nhttp_proxy_password_file = 'x'\n"
        ),
    ] {
        let told = load_text(&text).unwrap_err();
        assert!(!format!("{told} {told:?}").contains(canary), "{told}");
    }
    let config = load_text(&format!(
        "[upstreams.'a.io']\nusername = 'me'\npassword = '{canary}'\nhttp_proxy = 'http://me:{canary}@a.io:1'\n"
    ))
    .unwrap();
    assert!(!format!("{config:?} {}", render(&config)).contains(canary));
}
