//! Which failures are trouble, and which are worth another try.

use super::*;

fn error(kind: ErrorKind) -> UpstreamError {
    UpstreamError::new(kind, "a.io", "x")
}

#[test]
fn only_unreachable_failing_or_loaded_upstreams_are_in_trouble() {
    for (kind, trouble, retry) in [
        (
            ErrorKind::NotFound {
                code: ErrorCode::NameUnknown,
            },
            false,
            false,
        ),
        (ErrorKind::Unauthorized, false, false),
        (ErrorKind::Denied, false, false),
        (ErrorKind::TooManyRequests, true, true),
        (ErrorKind::Unavailable(Trouble::Connect), true, true),
        (ErrorKind::Unavailable(Trouble::Timeout), true, true),
        (ErrorKind::Unavailable(Trouble::Status(408)), true, true),
        (ErrorKind::Unavailable(Trouble::Status(500)), true, true),
        (ErrorKind::Unavailable(Trouble::Status(501)), true, false),
        (ErrorKind::Unavailable(Trouble::Status(503)), true, true),
        (ErrorKind::Cut, true, true),
        (ErrorKind::Invalid, false, false),
        (ErrorKind::Policy, false, false),
        (ErrorKind::RangeUnsatisfiable { size: None }, false, false),
        (ErrorKind::Unsupported, false, false),
    ] {
        assert_eq!(error(kind).is_trouble(), trouble, "{kind:?}");
        assert_eq!(error(kind).may_retry(), retry, "{kind:?}");
    }
}
