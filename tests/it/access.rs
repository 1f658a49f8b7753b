//! Who may pull what: `[access]` on the real process.

mod logins;
mod matrix;
mod reload;
mod spellings;

use std::path::Path;

use forebay_loadtest::origin::Origin;
use http::Method;

use crate::harness::{Answer, Client, Setup};

/// What `ci` logs in with.
const TOKEN: &str = "canary-token-0123456789abcdef";
/// What alice logs in with, and bob.
const PASSWORD: &str = "canary-password";

/// Basic, as clients write it.
fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {login}")
}

/// Users with the password of both, at the lowest cost, in one step.
fn write_users(dir: &Path, users: &[&str], password: &str) {
    let hash = bcrypt::hash(password, 4).unwrap();
    let lines = users.iter().map(|user| format!("{user}:{hash}\n"));
    let new = dir.join("users.new");
    std::fs::write(&new, lines.collect::<String>()).unwrap();
    std::fs::rename(new, dir.join("users")).unwrap();
}

/// A mirror where alice and `ci` may pull all, bob `library/open`, and nobody else anything; `rules` stand before those.
fn guarded(origin: &Origin, dir: &Path, rules: &str) -> Setup {
    write_users(dir, &["alice", "bob"], PASSWORD);
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    let dir = dir.display();
    Setup::new(origin).config(&format!(
        "[access]\nhtpasswd_file = '{dir}/users'\ntokens = [{{ name = 'ci', file = '{dir}/token' }}]\n\
         trusted = ['127.0.77.0/24']\n{rules}\
         [[access.rules]]\nclients = ['user:alice', 'token:ci', 'address:127.0.77.0/24']\nrepositories = ['**']\nallow = true\n\
         [[access.rules]]\nclients = ['user:bob']\nrepositories = ['docker.io/library/open']\nallow = true\n"
    ))
}

/// A request with a login.
async fn ask(client: &Client, method: Method, path: &str, login: Option<&str>) -> Answer {
    let headers: Vec<_> = login
        .map(|login| ("authorization", login))
        .into_iter()
        .collect();
    client.ask(method, path, &headers).await
}
