//! An upstream's base URL, taken apart once. What it may lead to is judged at each connection.

use http::HeaderValue;
use url::{Host, Url};

/// A base URL, taken apart once.
#[derive(Debug, PartialEq, Eq)]
pub struct Base {
    /// As it was given.
    pub url: Box<str>,
    pub tls: bool,
    pub host: Host<String>,
    pub port: u16,
    /// Put before the request's path; without a slash at its end.
    pub path: String,
    /// `Host` for requests to it.
    pub authority: HeaderValue,
    /// Name for TLS; never empty, because an empty one would switch verification off.
    pub name: String,
}

impl Base {
    pub fn parse(text: &str) -> Result<Self, String> {
        let url =
            Url::parse(text).map_err(|error| format!("an upstream URL is invalid: {error}"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("an upstream URL has the scheme `{other}`")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an upstream URL holds a user name or password".into());
        }
        let host = url.host().ok_or("an upstream URL has no host")?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Ok(Self {
            url: text.into(),
            tls,
            port: url.port_or_known_default().ok_or("an upstream URL has no port")?,
            path: url.path().trim_end_matches('/').to_owned(),
            authority: HeaderValue::from_str(&authority)
                .map_err(|_| "an upstream URL's host is invalid")?,
            name: match &host {
                Host::Ipv6(address) => address.to_string(),
                other => other.to_string(),
            },
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_apart() {
        let base = Base::parse("https://api.example.com:8443/base/").expect("valid");
        assert_eq!((base.tls, base.port, &*base.path), (true, 8443, "/base"));
        assert_eq!(base.authority, "api.example.com:8443");
        let base = Base::parse("http://[::1]").expect("valid");
        assert_eq!((base.tls, base.port, &*base.path), (false, 80, ""));
        assert_eq!((base.authority.to_str().ok(), &*base.name), (Some("[::1]"), "::1"));
        for bad in ["", "example.com", "ftp://a", "http://", "http://u:p@a", "http://a b"] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }
}
