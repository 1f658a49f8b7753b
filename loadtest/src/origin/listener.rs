//! A port that can be switched off and on again.
//!
//! Owns the port for as long as it lives: while it is off, connects are refused,
//! and nobody else can get it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::Server;
use super::serve::serve;
use super::state::State;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// One server's port.
#[derive(Debug)]
pub(crate) struct Port {
    server: Server,
    pub(crate) address: SocketAddr,
    send_buffer: u32,
    running: Mutex<Option<Running>>,
    /// Bound and never listening, so that the kernel gives the port to nobody
    /// while it is off: not to another process, and not as the near end of a
    /// connect to this very port, which would then succeed with itself.
    _reserved: TcpSocket,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Port {
    /// Binds without listening; port 0 means any that is free.
    pub(crate) fn reserve(
        server: Server,
        address: SocketAddr,
        send_buffer: u32,
    ) -> io::Result<Self> {
        let reserved = socket(address)?;
        reserved
            .bind(address)
            .map_err(|error| taken(address, &error))?;
        Ok(Self {
            server,
            address: reserved.local_addr()?,
            send_buffer,
            running: Mutex::new(None),
            _reserved: reserved,
        })
    }

    /// Starts listening, unless it does already.
    pub(crate) fn start(&self, state: &Arc<State>) -> io::Result<()> {
        let mut running = self.running.lock().expect("nobody panics with the lock");
        if running.is_some() {
            return Ok(());
        }
        let socket = socket(self.address)?;
        // Accepted connections inherit it. A large buffer would take bytes that
        // no client ever sees, and count them as sent.
        socket.set_send_buffer_size(self.send_buffer)?;
        socket.bind(self.address)?;
        let listener = socket
            .listen(BACKLOG)
            .map_err(|error| taken(self.address, &error))?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, self.server, Arc::clone(state), stopped));
        *running = Some(Running { stop, task });
        Ok(())
    }

    /// Stops listening and ends every connection; returns when both are done.
    pub(crate) async fn stop(&self) {
        let running = self
            .running
            .lock()
            .expect("nobody panics with the lock")
            .take();
        if let Some(Running { stop, task }) = running {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Ok(running) = self.running.get_mut()
            && let Some(running) = running.take()
        {
            running.task.abort();
        }
    }
}

fn taken(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Accepts until told to stop. Its connections are tied to it.
async fn accept(
    listener: TcpListener,
    server: Server,
    state: Arc<State>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(Arc::clone(&state), server, stream, client));
                }
                // Out of descriptors, most likely: some will be free soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}
