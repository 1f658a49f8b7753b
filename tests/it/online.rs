//! `forebay check --online`: what it says of upstreams that are well, and of each thing that can be wrong with one; what it
//! costs them; and that it tells no secret.

mod images;
mod logins;
mod passthrough;
mod reach;
mod well;

use forebay_loadtest::origin::{Auth, Builder, ImageSpec, Kind, Origin, Reply};

use crate::harness::Setup;

/// What nobody may see.
const PASSWORD: &str = "canary-password";

/// What a check said.
struct Look {
    code: Option<i32>,
    text: String,
}

/// Runs `check --online` on these registries and images.
async fn look(setup: &Setup, targets: &[&str]) -> Look {
    let arguments = [&["--online"], targets].concat();
    let output = setup.check(&arguments).await;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    for secret in [PASSWORD, "canary", "Y2FuYXJ5"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!setup.cache_dir().exists(), "the cache is left alone");
    Look {
        code: output.status.code(),
        text,
    }
}

impl Look {
    /// All is well, and this is said.
    fn is_well(&self, said: &[&str]) {
        self.says(said);
        assert_eq!(self.code, Some(0), "{}", self.text);
        assert!(!self.text.contains("FAIL"), "{}", self.text);
    }

    /// A step has failed, and all of this is said in its line, or in the one below it that says what to change.
    fn fails(&self, step: &str, said: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        let lines: Vec<_> = self.text.lines().collect();
        let mark = format!("  FAIL  {step:<8}  ");
        let at = lines.iter().position(|line| line.starts_with(&mark));
        let at = at.unwrap_or_else(|| panic!("{step} has not failed: {}", self.text));
        let change = lines.get(at + 1).copied().unwrap_or_default();
        let change = change.strip_prefix("        change    ").unwrap_or("");
        let told = format!("{} {change}", lines[at]);
        for words in said {
            assert!(told.contains(words), "{words:?} is not in {told:?}");
        }
        let after = lines.get(at + 2).copied().unwrap_or_default();
        assert!(!after.starts_with("  ok"), "{}", self.text);
    }

    fn says(&self, said: &[&str]) {
        for words in said {
            assert!(self.text.contains(words), "{words:?}: {}", self.text);
        }
    }
}

/// A registry with `team/app:v1`, which only the user `ci` may read.
async fn private(builder: Builder) -> Origin {
    let builder = builder
        .user("ci", PASSWORD)
        .repository("team/app", |repository| {
            repository.private();
            repository.image("v1", &ImageSpec::default());
        });
    builder.start().await.expect("the origin starts")
}

/// As [`private`], with this way of logging in.
async fn with_login(auth: Auth) -> Origin {
    private(Origin::builder().auth(auth)).await
}

/// A mirror of it that logs in as `ci`.
fn logged_in(origin: &Origin) -> Setup {
    Setup::new(origin).upstream(&format!("username = \"ci\"\npassword = {PASSWORD:?}"))
}

/// A web page.
fn page(status: u16) -> Reply {
    let reply = Reply::status(status).header("content-type", "text/html; charset=utf-8");
    reply.body("<html>Welcome to our hotel</html>")
}

/// Nothing that counts towards a quota was asked for.
fn is_free(origin: &Origin) {
    let counts = origin.counts();
    for kind in [
        Kind::ManifestGet,
        Kind::BlobGet,
        Kind::BlobHead,
        Kind::CdnGet,
    ] {
        assert_eq!(counts.requests(kind), 0, "{kind:?}");
    }
}
