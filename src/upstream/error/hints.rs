//! What an operator can do about an error of a library.

use rustls::AlertDescription as Alert;

/// What to do about a handshake that failed; `None` where nothing is known.
pub(crate) type TlsHint = fn(&rustls::Error) -> Option<&'static str>;

/// With a service that is no upstream's own, such as a cloud's.
pub(crate) fn machines_tls_hint(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(_) => Some(
            "add its authority to this machine's trusted certificates, or name them in SSL_CERT_FILE, if it is a private \
             one",
        ),
        _ => None,
    }
}

/// With an upstream.
pub(crate) fn tls_hint(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            Some("set ca_file for this upstream if its authority is a private one")
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => Some(
            "it wants to be shown a certificate: set client_cert and client_key for this upstream",
        ),
        rustls::Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => Some("it does not take the client_cert of this upstream, or is shown none"),
        _ => None,
    }
}
