//! Files of logins, which people and machines replace while the mirror runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use super::{Issued, Issuing, Login, LoginError, Source};
use crate::config::{self, Secret};
use crate::oci::RepositoryName;
use crate::upstream::address::Origin;

/// How often a file, or what it names, is asked whether somebody has logged in anew.
pub(super) const LOOK_AGAIN: Duration = Duration::from_mins(2);
/// How long the disk is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file, read off the async threads and in bounded time. One read that hangs, as on a dead network file system, takes one
/// thread, however often it is asked for.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    turn: Arc<Turn<()>>,
}

impl Watched {
    pub(super) fn new(path: PathBuf) -> Watched {
        Watched {
            path,
            turn: Arc::default(),
        }
    }

    /// What `read` makes of it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
    ) -> Result<T, LoginError> {
        let (path, turn) = (self.path.clone(), self.turn.clone());
        let reading = async move {
            let turn = turn.lock_owned().await;
            let read = tokio::task::spawn_blocking(move || {
                let read = read(&path);
                drop(turn);
                read
            });
            read.await
        };
        let what = match timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => return read.map_err(LoginError::Broken),
            Ok(Err(_)) => "can't be read".to_owned(),
            Err(_) => format!("can't be read within {PATIENCE:?}"),
        };
        let message = format!("{} {what}", self.path.display());
        Err(LoginError::Broken(message))
    }
}

/// A user whose password is in a file.
#[derive(Debug)]
pub(super) struct PasswordFile {
    username: String,
    file: Watched,
}

impl PasswordFile {
    pub(super) fn new(username: String, path: PathBuf) -> PasswordFile {
        PasswordFile {
            username,
            file: Watched::new(path),
        }
    }

    async fn password(&self) -> Result<Secret, LoginError> {
        self.file.read(config::read_password).await
    }
}

impl Source for PasswordFile {
    fn account(&self, _: &Origin, _: Option<&RepositoryName>) -> String {
        self.username.clone()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(async {
            let login = Login::Password {
                username: self.username.clone(),
                password: self.password().await?,
            };
            Ok(Issued::looked_up(login, LOOK_AGAIN))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Origin {
        Origin::of(&"https://registry.example".parse().unwrap()).unwrap()
    }

    /// A file on a file system that hangs held every request for ever, and each question a thread.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_hangs_is_given_up_and_takes_one_thread() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("password");
        // Who opens it to read waits for a writer.
        let (user, fifo) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, user, 0).unwrap();
        let source = PasswordFile::new("ci".to_owned(), path.clone());
        let (first, second) = {
            let (registry, again) = (registry(), registry());
            let first = source.issue(&registry, "");
            let second = source.issue(&again, "");
            tokio::pin!(first, second);
            // The clock stands still while a thread is busy, so it is moved by hand.
            for _ in 0..4 {
                tokio::select! {
                    biased;
                    _ = &mut first => unreachable!("nobody writes"),
                    _ = &mut second => unreachable!("nobody writes"),
                    () = tokio::task::yield_now() => {}
                }
            }
            tokio::time::advance(PATIENCE).await;
            (first.await, second.await)
        };
        for answer in [first, second] {
            let LoginError::Broken(what) = answer.unwrap_err() else {
                panic!("nobody refuses");
            };
            assert!(what.contains("within 5s"), "{what}");
        }
        // Whoever reads comes to an end.
        std::fs::write(&path, "late").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "secret").unwrap();
        assert_eq!(source.password().await.unwrap().expose(), "secret");
    }
}
