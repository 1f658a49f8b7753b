//! Faults: what can go wrong with a response, and what of it one response gets.
//!
//! Positions are offsets in the content, not in the response, so a fault hits
//! the same byte whichever range carries it.

use std::time::Duration;

use super::gate::{Gate, Pace};
use super::reply::{Part, Reply};
use super::script::{Claim, Facts};

/// Something that goes wrong with a response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The response starts this much later.
    Delay(Duration),
    /// The response starts once the gate is released; never, if it isn't.
    HoldHead(Gate),
    /// This is the response, whatever was asked for.
    Answer(Reply),
    /// A redirect to the request's own URL.
    RedirectLoop,
    /// The redirect to the CDN is given, and has expired.
    ExpiredRedirect,
    /// The whole content, with 200, in answer to a range.
    IgnoreRange,
    /// A 206 that starts this many bytes later than asked.
    ShiftRange(u64),
    /// A header is set to this, or left out.
    Header(&'static str, Option<String>),
    /// A header is sent as these bytes, which no correct server may send.
    Raw(&'static str, Vec<u8>),
    /// The body goes out at this many bytes a second, each on its own.
    Throttle(u64),
    /// All bodies together go out at this pace.
    ThrottleTotal(Pace),
    /// The body waits before this byte until the gate is released; one that
    /// starts further on waits at its start.
    HoldAt(u64, Gate),
    /// A body that has this byte waits before it until the gate is released;
    /// others go out.
    HoldByte(u64, Gate),
    /// The connection closes (FIN) before this byte, short of Content-Length.
    CutAt(u64),
    /// The connection is reset (RST) before this byte.
    ResetAt(u64),
    /// The lowest bit of this byte is flipped.
    FlipBit(u64),
    /// This many bytes are added to the content's end; Content-Length agrees.
    Extra(u64),
    /// This many bytes are missing at the content's end; Content-Length agrees.
    Short(u64),
    /// Content-Length lies by this much, and the connection closes at the end.
    ClaimLength(i64),
    /// Content-Range lies about the total by this much.
    ClaimTotal(i64),
    /// The body is chunked, without Content-Length.
    Chunked,
    /// The body ends where the connection does, without Content-Length.
    UntilClose,
}

impl Fault {
    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self::Answer(Reply::status(status))
    }

    /// A redirect to any URL.
    pub fn redirect_to(url: &str) -> Self {
        Self::Answer(Reply::status(307).header("location", url))
    }

    /// No response, ever.
    pub fn hang() -> Self {
        Self::HoldHead(Gate::new())
    }

    /// The body stops before this byte, forever.
    pub fn stall_at(position: u64) -> Self {
        Self::HoldAt(position, Gate::new())
    }

    /// All bodies that this hits go out at this many bytes a second together.
    pub fn throttle_total(bytes_per_second: u64) -> Self {
        Self::ThrottleTotal(Pace::new(bytes_per_second))
    }

    /// A header that lies.
    pub fn header(name: &'static str, value: &str) -> Self {
        Self::Header(name, Some(value.to_owned()))
    }

    /// `Docker-Content-Digest` is left out.
    pub fn no_digest_header() -> Self {
        Self::Header("docker-content-digest", None)
    }

    /// `Content-Encoding: gzip` on bytes that are not.
    pub fn claims_gzip() -> Self {
        Self::header("content-encoding", "gzip")
    }

    /// Whether it acts on the response before there is one.
    pub(crate) fn comes_first(&self) -> bool {
        matches!(
            self,
            Self::Delay(_)
                | Self::HoldHead(_)
                | Self::Answer(_)
                | Self::RedirectLoop
                | Self::ExpiredRedirect
                | Self::IgnoreRange
                | Self::ShiftRange(_)
        )
    }

    /// Where it acts in a body that is this part of the content, and how, for
    /// faults that act at a byte.
    pub(crate) fn at_byte(&self, part: &Part) -> Option<(u64, Act)> {
        let (at, act) = match self {
            Self::HoldAt(at, gate) => (part.span.start.max(*at), Act::Hold(gate.clone())),
            Self::HoldByte(at, gate) => (*at, Act::Hold(gate.clone())),
            Self::CutAt(at) => (*at, Act::End(Ending::Fin)),
            Self::ResetAt(at) => (*at, Act::End(Ending::Reset)),
            Self::FlipBit(at) => (*at, Act::Flip),
            _ => return None,
        };
        part.span.contains(&at).then_some((at, act))
    }
}

/// What happens when a body reaches a byte. In this order, at the same one.
#[derive(Debug)]
pub(crate) enum Act {
    Hold(Gate),
    End(Ending),
    Flip,
}

impl Act {
    pub(crate) fn order(&self) -> u8 {
        match self {
            Self::Hold(_) => 0,
            Self::End(_) => 1,
            Self::Flip => 2,
        }
    }
}

/// Something that happens at a byte, if its rule still has it to give when the
/// body gets there.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) act: Act,
    pub(crate) claim: Claim,
}

/// How a fault ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Fin,
    Reset,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    #[default]
    Length,
    Chunked,
    UntilClose,
}

/// The faults that come before there is a response.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) delay: Duration,
    pub(crate) gates: Vec<Gate>,
    pub(crate) answer: Option<Reply>,
    pub(crate) redirect_loop: bool,
    pub(crate) expired_redirect: bool,
    pub(crate) ignore_range: bool,
    pub(crate) shift_range: u64,
}

impl Before {
    /// Adds what was taken earlier for the same request.
    pub(crate) fn join(&mut self, earlier: &Self) {
        self.expired_redirect |= earlier.expired_redirect;
        self.ignore_range |= earlier.ignore_range;
        self.shift_range += earlier.shift_range;
    }

    /// Takes the fault on, unless it changes nothing or another one rules.
    pub(crate) fn accept(&mut self, fault: &Fault, request: &Facts<'_>) -> bool {
        let answered = self.answer.is_some() || self.redirect_loop;
        match fault {
            Fault::Delay(delay) => self.delay += *delay,
            Fault::HoldHead(gate) => self.gates.push(gate.clone()),
            Fault::Answer(reply) if !answered => self.answer = Some(reply.clone()),
            Fault::RedirectLoop if !answered => self.redirect_loop = true,
            Fault::ExpiredRedirect if !self.expired_redirect => self.expired_redirect = true,
            Fault::IgnoreRange if request.ranged && !self.ignore_range => self.ignore_range = true,
            Fault::ShiftRange(by) if request.ranged => self.shift_range += by,
            _ => return false,
        }
        true
    }
}

/// The faults that act on the response.
#[derive(Debug, Default)]
pub(crate) struct During {
    pub(crate) headers: Vec<(&'static str, Option<String>)>,
    pub(crate) raw: Vec<(&'static str, Vec<u8>)>,
    pub(crate) paces: Vec<Pace>,
    pub(crate) events: Vec<Event>,
    /// Bytes added to (or, below 0, missing from) the content.
    pub(crate) grown: i64,
    pub(crate) claim_length: i64,
    pub(crate) claim_total: i64,
    pub(crate) framing: Framing,
}

impl During {
    /// Takes the fault on, unless it changes nothing or another one rules.
    pub(crate) fn accept(&mut self, fault: &Fault, part: Option<&Part>) -> bool {
        if let Fault::Header(name, value) = fault {
            let new = self.headers.iter().all(|(known, _)| known != name);
            if new {
                self.headers.push((name, value.clone()));
            }
            return new;
        }
        if let Fault::Raw(name, value) = fault {
            self.raw.push((name, value.clone()));
            return true;
        }
        part.is_some_and(|part| self.accept_on_body(fault, part))
    }

    fn accept_on_body(&mut self, fault: &Fault, part: &Part) -> bool {
        let at_end = part.span.end == part.total;
        let plain = self.framing == Framing::Length;
        match *fault {
            Fault::Throttle(rate) => self.paces.push(Pace::new(rate)),
            Fault::ThrottleTotal(ref pace) => self.paces.push(pace.clone()),
            Fault::Extra(by) if self.grown == 0 && at_end => self.grown = by.cast_signed(),
            Fault::Short(by) if self.grown == 0 && at_end => {
                self.grown = -by.min(part.span.end - part.span.start).cast_signed();
            }
            Fault::ClaimLength(by) if self.claim_length == 0 => self.claim_length = by,
            Fault::ClaimTotal(by) if self.claim_total == 0 => self.claim_total = by,
            Fault::Chunked if plain => self.framing = Framing::Chunked,
            Fault::UntilClose if plain => self.framing = Framing::UntilClose,
            _ => return false,
        }
        true
    }
}
