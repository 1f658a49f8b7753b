//! One connection's requests, from arrival to the last byte.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, RANGE};
use tokio::net::TcpStream;

use super::auth::Identity;
use super::connection::{Connection, Gone, Head};
use super::faults::Before;
use super::reply::{Part, Reply};
use super::request::{Authorization, Outcome, Request};
use super::script::Facts;
use super::state::State;
use super::target::Target;
use super::transmit::Transmission;
use super::{Server, cdn, registry, token};

/// Serves a connection until its client leaves or a fault ends it.
pub(crate) async fn serve(
    state: Arc<State>,
    server: Server,
    stream: TcpStream,
    client: SocketAddr,
) {
    let mut connection = Connection::new(stream, client);
    while let Ok(head) = connection.head().await {
        if !matches!(
            exchange(&state, server, &mut connection, &head).await,
            Ok(true)
        ) {
            return;
        }
    }
}

/// One request and its response. Says whether another may follow.
async fn exchange(
    state: &State,
    server: Server,
    connection: &mut Connection,
    head: &Head,
) -> Result<bool, Gone> {
    let target = Target::of(server, head, &state.settings);
    let facts = target.facts(head);
    let ticket = state
        .log
        .arrived(described(head, &facts, connection.client));
    let mut reply = respond(state, server, connection, head, &target).await?;
    if server == Server::Registry {
        reply = reply.header("docker-distribution-api-version", "registry/2.0");
    }
    if reply.part.is_none() && reply.status.is_success() {
        let total = reply.body.len() as u64;
        reply = reply.part(Part {
            span: 0..total,
            total,
        });
    }
    let during = state.faults.during(&facts, reply.part.as_ref());
    let is_head = head.method == http::Method::HEAD;
    Transmission::new(reply, during, is_head, head.keeps_alive())
        .send(connection, &ticket)
        .await
}

async fn respond(
    state: &State,
    server: Server,
    connection: &mut Connection,
    head: &Head,
    target: &Target,
) -> Result<Reply, Gone> {
    let facts = target.facts(head);
    let early = state.faults.before(&facts, true);
    if let Some(reply) = intervene(&early, connection, head).await? {
        return Ok(reply);
    }
    if server == Server::Registry
        && let Some(reply) = registry::moved(state, head, target)
    {
        return Ok(reply);
    }
    let identity = match authorize(state, server, head, target) {
        Ok(identity) => identity,
        Err(refusal) => return Ok(*refusal),
    };
    let mut before = state.faults.before(&facts, false);
    before.join(&early);
    if let Some(reply) = intervene(&before, connection, head).await? {
        return Ok(reply);
    }
    Ok(match target {
        Target::Token { scopes } => token::answer(state, head, scopes),
        Target::Exchange => token::exchange(state, head),
        Target::Cdn {
            name: Some(name),
            digest,
        } => cdn::blob(
            state,
            head,
            name,
            digest,
            before.ignore_range,
            before.shift_range,
        ),
        _ => registry::answer(state, connection, head, target, &identity, &before),
    })
}

/// Delays, holds, and answers that come before anything else.
async fn intervene(
    before: &Before,
    connection: &mut Connection,
    head: &Head,
) -> Result<Option<Reply>, Gone> {
    if !before.delay.is_zero() {
        connection
            .while_there(tokio::time::sleep(before.delay))
            .await?;
    }
    for gate in &before.gates {
        connection.while_there(gate.pass()).await?;
    }
    if before.redirect_loop {
        let host = head.header(HOST).unwrap_or_default();
        let location = format!("http://{host}{}", head.target);
        return Ok(Some(Reply::status(307).header("location", location)));
    }
    Ok(before.answer.clone())
}

fn authorize(
    state: &State,
    server: Server,
    head: &Head,
    target: &Target,
) -> Result<Identity, Box<Reply>> {
    match target {
        Target::Token { .. } | Target::Exchange => Ok(Identity::default()),
        Target::Cdn { name, digest } => {
            let name = name.as_deref().unwrap_or_default();
            cdn::authorize(state, head, name, digest, server == Server::Cdn)?;
            Ok(Identity::default())
        }
        Target::Ping if state.settings.quirks.open_ping => Ok(Identity::default()),
        Target::Unknown if server != Server::Registry => Err(Box::new(Reply::status(404))),
        _ => registry::authorize(state, head, target.repository()),
    }
}

fn described(head: &Head, facts: &Facts<'_>, client: SocketAddr) -> Request {
    Request {
        number: 0,
        kind: facts.kind,
        method: head.method.to_string(),
        target: head.target.clone(),
        repository: facts.repository.map(str::to_owned),
        reference: facts.reference.map(str::to_owned),
        range: head.header(RANGE).map(str::to_owned),
        authorization: Authorization::of(&head.headers),
        headers: head.headers.clone(),
        client,
        status: None,
        span: None,
        body_bytes: 0,
        outcome: Outcome::Running,
    }
}
