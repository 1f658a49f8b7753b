//! What an operator can do about an error of a library.

use rustls::{AlertDescription as Alert, CertificateError};

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
        rustls::Error::InvalidCertificate(error) => Some(certificate_hint(error)),
        rustls::Error::InvalidMessage(_) => Some(
            "it does not speak TLS there: write http:// in endpoints for this upstream if that is meant",
        ),
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

fn certificate_hint(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "the registry's operator has to renew it, unless this machine's clock is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is another host's: write a name that it has in endpoints for this upstream"
        }
        _ => "set ca_file for this upstream if its authority is a private one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An expired certificate was answered with the advice to trust its authority, which changes nothing.
    #[test]
    fn each_flaw_of_a_certificate_has_its_own_remedy() {
        for (flaw, remedy) in [
            (CertificateError::UnknownIssuer, "ca_file"),
            (CertificateError::Expired, "clock"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::NotValidForName, "endpoints"),
        ] {
            let hint = tls_hint(&rustls::Error::InvalidCertificate(flaw.clone()));
            assert!(hint.is_some_and(|hint| hint.contains(remedy)), "{flaw:?}");
        }
    }
}
