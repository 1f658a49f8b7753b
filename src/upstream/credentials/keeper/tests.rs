//! When a source is asked, by a clock that the tests move.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::time::advance;

use super::*;
use crate::config::Secret;
use crate::upstream::credentials::Issuing;

/// A source that is asked through a gate, and says the next of what it was told to say.
#[derive(Debug)]
struct Script {
    asked: AtomicUsize,
    gate: Semaphore,
    answers: Mutex<Vec<Result<Duration, LoginError>>>,
    /// Every login is the first one again.
    always_the_same: bool,
}

impl Script {
    /// Answers with logins of these lives, or with errors, first things first.
    fn of(answers: &[Result<u64, &str>]) -> Arc<Script> {
        Script::behind(Semaphore::new(answers.len()), answers)
    }

    /// As [`Script::of`], once the gate lets it.
    fn behind(gate: Semaphore, answers: &[Result<u64, &str>]) -> Arc<Script> {
        let answers = answers.iter().rev().map(|answer| match answer {
            Ok(seconds) => Ok(Duration::from_secs(*seconds)),
            Err(message) => Err(LoginError::Broken((*message).to_owned())),
        });
        Arc::new(Script {
            asked: AtomicUsize::new(0),
            gate,
            answers: Mutex::new(answers.collect()),
            always_the_same: false,
        })
    }

    /// As [`Script::of`], and every login is the same.
    fn of_one_login(answers: &[Result<u64, &str>]) -> Arc<Script> {
        let script = Arc::into_inner(Script::of(answers)).unwrap();
        Arc::new(Script {
            always_the_same: true,
            ..script
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Source for Script {
    fn account(&self, registry: &Origin, _: Option<&RepositoryName>) -> String {
        registry.authority()
    }

    fn issue<'a>(&'a self, _: &'a Origin, _: &'a str) -> Issuing<'a> {
        Box::pin(async {
            let count = self.asked.fetch_add(1, Ordering::Relaxed);
            self.gate.acquire().await.unwrap().forget();
            let life = self.answers.lock().unwrap().pop();
            let life = life.expect("no more questions than answers")?;
            let count = if self.always_the_same { 0 } else { count };
            let login = Login::Password {
                username: format!("user-{count}"),
                password: Secret::new("p"),
            };
            Ok(Issued::for_a_while(login, life))
        })
    }
}

fn registry() -> Origin {
    Origin::of(&"https://registry.example".parse().unwrap()).unwrap()
}

/// The user whose login it is.
async fn user(keeper: &Keeper) -> Result<String, LoginError> {
    let name = "a/b".parse().unwrap();
    let held = keeper.login(&registry(), Some(&name)).await?;
    match &held.identity {
        Identity::User { name, .. } => Ok(name.clone()),
        other => panic!("{other:?}"),
    }
}

async fn held(keeper: &Keeper) -> Arc<Held> {
    let name = "a/b".parse().unwrap();
    keeper.login(&registry(), Some(&name)).await.unwrap()
}

/// Lets the tasks that are under way come to their ends.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_at_once_ask_the_source_once() {
    let script = Script::of(&[Ok(100)]);
    let keeper = Arc::new(Keeper::new(script.clone()));
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let keeper = keeper.clone();
            tokio::spawn(async move { user(&keeper).await.unwrap() })
        })
        .collect();
    for user in waiting {
        assert_eq!(user.await.unwrap(), "user-0");
    }
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_is_renewed_at_half_of_its_life_and_nobody_waits_for_it() {
    let script = Script::of(&[Ok(100), Ok(100)]);
    let keeper = Keeper::new(script.clone());
    assert_eq!(user(&keeper).await.unwrap(), "user-0");
    advance(Duration::from_secs(49)).await;
    assert_eq!(user(&keeper).await.unwrap(), "user-0");
    settle().await;
    assert_eq!(script.asked(), 1);
    advance(Duration::from_secs(2)).await;
    assert_eq!(user(&keeper).await.unwrap(), "user-0", "the old one serves");
    settle().await;
    assert_eq!(user(&keeper).await.unwrap(), "user-1");
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_old_login_serves_to_its_end_while_no_new_one_is_to_be_had() {
    let script = Script::of(&[Ok(100), Err("away"), Err("away"), Err("away"), Ok(100)]);
    let keeper = Keeper::new(script.clone());
    assert_eq!(user(&keeper).await.unwrap(), "user-0");
    advance(Duration::from_mins(1)).await;
    for asked in [2, 2, 3] {
        assert_eq!(user(&keeper).await.unwrap(), "user-0");
        settle().await;
        assert_eq!(script.asked(), asked, "once in ten seconds");
        advance(Duration::from_secs(6)).await;
    }
    advance(Duration::from_secs(30)).await;
    let error = user(&keeper).await.unwrap_err();
    assert_eq!(error, LoginError::Broken("away".to_owned()));
    assert_eq!(user(&keeper).await.unwrap_err(), error, "it is remembered");
    assert_eq!(script.asked(), 4);
    advance(PAUSE).await;
    assert_eq!(user(&keeper).await.unwrap(), "user-4");
}

/// The user of another login than the one that was refused.
async fn another(keeper: &Keeper, refused: &Held) -> Result<Option<String>, LoginError> {
    let held = keeper.another(&registry(), refused).await?;
    Ok(held.map(|held| match &held.identity {
        Identity::User { name, .. } => name.clone(),
        other => panic!("{other:?}"),
    }))
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_replaced_unless_it_is_new() {
    let script = Script::of(&[Ok(1000), Ok(1000), Ok(1000)]);
    let keeper = Keeper::new(script.clone());
    let first = held(&keeper).await;
    assert_eq!(
        another(&keeper, &first).await,
        Ok(None),
        "its like is as bad"
    );
    advance(PAUSE).await;
    let second = || Ok(Some("user-1".to_owned()));
    assert_eq!(another(&keeper, &first).await, second());
    assert_eq!(
        another(&keeper, &first).await,
        second(),
        "there is one already"
    );
    let second = held(&keeper).await;
    second.prove();
    assert_eq!(
        another(&keeper, &second).await,
        Ok(None),
        "it was asked for just now"
    );
    advance(PAUSE).await;
    assert_eq!(
        another(&keeper, &second).await,
        Ok(Some("user-2".to_owned()))
    );
    assert_eq!(script.asked(), 3);
}

/// One repository that the user may not read had the login dropped for all of them, and a helper started for each request.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_no_other_login_mends_costs_a_question_now_and_then_and_nobody_a_login() {
    let script = Script::of_one_login(&[Ok(1000), Ok(1000), Ok(1000)]);
    let keeper = Keeper::new(script.clone());
    let login = held(&keeper).await;
    login.prove();
    for asked in [2, 2, 3] {
        assert_eq!(another(&keeper, &login).await, Ok(None));
        assert_eq!(script.asked(), asked, "once in ten seconds");
        assert_eq!(user(&keeper).await.unwrap(), "user-0");
        held(&keeper).await.prove();
        advance(PAUSE * 6 / 10).await;
    }
    assert_eq!(script.asked(), 3);
}

/// A refused login was dropped before there was another, and where the source was down every repository was without one.
#[tokio::test(start_paused = true)]
async fn a_refused_login_serves_all_others_while_no_other_is_to_be_had() {
    let script = Script::of(&[Ok(1000), Err("away"), Ok(1000)]);
    let keeper = Keeper::new(script.clone());
    let login = held(&keeper).await;
    login.prove();
    let away = Err(LoginError::Broken("away".to_owned()));
    for _ in 0..2 {
        assert_eq!(
            another(&keeper, &login).await,
            away,
            "that there is no other says nothing of the right"
        );
        assert_eq!(user(&keeper).await.unwrap(), "user-0");
    }
    assert_eq!(script.asked(), 2);
    advance(PAUSE).await;
    assert_eq!(
        another(&keeper, &login).await,
        Ok(Some("user-2".to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn fifty_refused_at_once_ask_for_one_login_and_all_get_it() {
    let script = Script::of(&[Ok(1000), Ok(1000)]);
    let keeper = Arc::new(Keeper::new(script.clone()));
    let login = held(&keeper).await;
    login.prove();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (keeper, login) = (keeper.clone(), login.clone());
            tokio::spawn(async move { another(&keeper, &login).await })
        })
        .collect();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), Ok(Some("user-1".to_owned())));
    }
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_on_when_its_client_leaves() {
    let script = Script::behind(Semaphore::new(0), &[Ok(100)]);
    let keeper = Arc::new(Keeper::new(script.clone()));
    let leaving = tokio::spawn({
        let keeper = keeper.clone();
        async move { user(&keeper).await }
    });
    while script.asked() == 0 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    settle().await;
    script.gate.add_permits(1);
    assert_eq!(user(&keeper).await.unwrap(), "user-0");
    assert_eq!(script.asked(), 1);
}
