//! A password in a file, which is replaced while the mirror runs.

use forebay_loadtest::origin::{Auth, Origin};
use http::StatusCode;
use tempfile::TempPath;

use super::{manifest_of, origin_of};
use crate::harness::Setup;

const NAMES: [&str; 3] = ["team/one", "team/two", "team/three"];

/// A mirror that logs in with the password in a file.
fn with_password(origin: &Origin) -> (TempPath, Setup) {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, "canary-1\n").unwrap();
    let login = format!("username = \"ci\"\npassword_file = '{}'", path.display());
    (path, Setup::new(origin).upstream(&login))
}

/// The file was read when the mirror started and never again: a rotated password took a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_read_when_the_old_one_is_refused() {
    for auth in [Auth::Basic, Auth::token()] {
        let origin = origin_of(auth, &[("ci", "canary-1")], &NAMES).await;
        let (path, setup) = with_password(&origin);
        let forebay = setup.env("FOREBAY_LOG__LEVEL", "trace").start().await;
        let pull = async |name| manifest_of(&forebay, name).await.status;
        assert_eq!(pull("team/one").await, StatusCode::OK);
        origin.set_password("ci", "canary-2");
        origin.expire_tokens();
        std::fs::write(&path, "canary-2\n").unwrap();
        assert_eq!(pull("team/two").await, StatusCode::OK, "{}", forebay.log());
        // It is still there to be used when the file is not.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(pull("team/three").await, StatusCode::OK);
        assert!(!forebay.log().contains("canary"), "{}", forebay.log());
    }
}

/// A refusal was taken for trouble where no other password was to be had: whoever was locked out was served what was stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_refused_opens_nothing_stale_though_its_file_is_gone() {
    for auth in [Auth::Basic, Auth::token()] {
        let origin = origin_of(auth, &[("ci", "canary-1")], &NAMES).await;
        let (path, setup) = with_password(&origin);
        let forebay = setup
            .upstream("tags = { fresh_for = \"0s\" }")
            .start()
            .await;
        let pull = async || manifest_of(&forebay, "team/one").await;
        assert_eq!(pull().await.status, StatusCode::OK);
        origin.set_password("ci", "canary-2");
        origin.expire_tokens();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            let refused = pull().await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
        }
    }
}
