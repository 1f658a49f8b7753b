//! `Link: <...>; rel="next"` (RFC 8288), by which lists are continued. Only a link's query is read;
//! it is never dialled.
//!
//! Pure.

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// The query of the next page, where there is one.
pub(crate) fn next_page(headers: &HeaderMap, asked: &Url) -> Option<Vec<(String, String)>> {
    let (target, _) = headers
        .get_all(LINK)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(links)
        .find(|(_, parameters)| is_next(parameters))?;
    let query = asked.join(target).ok()?;
    Some(query.query_pairs().into_owned().collect())
}

/// Splits a line into targets and parameters.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('<')
        .skip(1)
        .filter_map(|link| link.split_once('>'))
}

fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        parameter
            .trim()
            .split_once('=')
            .is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|rel| rel.eq_ignore_ascii_case("next"))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, line.parse().unwrap());
        let asked = Url::parse("https://a.io/v2/x/tags/list?n=2").unwrap();
        next_page(&headers, &asked).map(|query| {
            let pair = |(key, value): &(String, String)| format!("{key}={value}");
            query.iter().map(pair).collect::<Vec<_>>().join("&")
        })
    }

    #[test]
    fn the_next_page_is_found_in_any_form_of_link() {
        for (line, query) in [
            (
                r#"</v2/x/tags/list?last=b&n=2>; rel="next""#,
                Some("last=b&n=2"),
            ),
            (
                "<https://a.io/v2/x/tags/list?n=2&last=b>;rel=next",
                Some("n=2&last=b"),
            ),
            ("<?last=b>; title=x; REL=\"prev next\"", Some("last=b")),
            (
                "</a?last=a>; rel=\"prev\", </b?last=b>; rel=\"next\"",
                Some("last=b"),
            ),
            ("</x?last=a%2Fb>; rel=next", Some("last=a/b")),
            ("</x?last=b>; rel=prev", None),
            ("nonsense", None),
            ("<http://[>; rel=next", None),
        ] {
            assert_eq!(next(line).as_deref(), query, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_link_is_survived(line in "[ -~]{0,100}") {
            let _ = next(&line);
        }
    }
}
