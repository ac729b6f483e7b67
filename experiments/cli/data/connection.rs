//! How a server is reached: through which proxy, and which certificates are believed.

use std::path::PathBuf;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy, ProxyProtocol};

/// Variables that name a proxy for any address, after the one of the address's scheme.
const ANY: [&str; 6] = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// What is to be said of the connection to `url`, where it cannot be made.
pub fn agent(url: &str, wait: Duration) -> Result<Agent, String> {
    let wait = Some(wait);
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(wait)
        .timeout_connect(wait)
        .timeout_per_read(wait)
        .timeout_per_write(wait)
        .proxy(proxy(url, &|name| std::env::var(name).ok())?)
        .user_agent(concat!("litesnn/", env!("CARGO_PKG_VERSION")));
    if url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")) {
        config = config.tls_config(TlsConfig::builder().root_certs(roots()?).build());
    }
    Ok(config.build().new_agent())
}

/// The proxy that the environment names for an address; none for an address on this machine, which
/// no proxy knows.
fn proxy(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Proxy>, String> {
    if on_this_machine(url) {
        return Ok(None);
    }
    let scheme = url.split("://").next().unwrap_or_default();
    let own = [format!("{}_PROXY", scheme.to_uppercase()), format!("{}_proxy", scheme.to_lowercase())];
    let names = own.iter().map(String::as_str).chain(ANY);
    let named = names.filter_map(|name| Some((name, variable(name).filter(|value| !value.trim().is_empty())?)));
    let Some((name, value)) = named.into_iter().next() else { return Ok(None) };
    // Going direct instead would be what the user did not want.
    let wrong = |_| {
        let shown = shown(&value);
        format!(
            "`{name}` is `{shown}`; a proxy reads `SCHEME://HOST:PORT` with http, https, socks4, socks4a, socks5 or socks5h"
        )
    };
    let named = Proxy::new(value.trim()).map_err(wrong)?;
    let mut proxy = Proxy::builder(named.protocol())
        .host(named.host())
        .port(named.port())
        // A name inside a company is known to its proxy; SOCKS4 takes none.
        .resolve_target(named.protocol() == ProxyProtocol::Socks4);
    if let Some(user) = named.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = named.password() {
        proxy = proxy.password(password);
    }
    let direct = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    for host in direct.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        proxy = proxy.no_proxy(host);
    }
    proxy.build().map(Some).map_err(wrong)
}

/// The authorities that the system believes, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name;
/// Mozilla's where a system has none, as in a small container.
fn roots() -> Result<RootCerts, String> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|name| Some((name, std::env::var_os(name)?)));
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), named) {
        (false, _) => Ok(RootCerts::new_with_certs(
            &found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect::<Vec<_>>(),
        )),
        (true, None) => Ok(RootCerts::WebPki),
        (true, Some((name, value))) => {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            Err(format!(
                "`{name}` names `{}`, which has no certificate of an authority{why}",
                PathBuf::from(value).display()
            ))
        }
    }
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// An address as it may be seen: without the name and the password in it.
pub fn shown(url: &str) -> String {
    match authority(url).rsplit_once('@') {
        Some((secret, _)) => url.replacen(&format!("{secret}@"), "***@", 1),
        None => url.to_owned(),
    }
}

/// Text of another program in which an address may stand.
pub fn without_secret(text: &str, url: &str) -> String {
    match authority(url).rsplit_once('@') {
        Some((secret, _)) => text.replace(&format!("{secret}@"), "***@"),
        None => text.to_owned(),
    }
}

fn on_this_machine(url: &str) -> bool {
    let host = authority(url);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, variables: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        proxy(url, &|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_names_a_proxy_and_what_cannot_be_one_is_an_error() {
        let found = |variables: &[(&str, &str)]| of("https://x.org/a", variables).unwrap();
        let proxy = found(&[("ALL_PROXY", "socks5://me:secret@here:1081"), ("NO_PROXY", "y.org, z.org")]).unwrap();
        assert_eq!((proxy.protocol(), proxy.host(), proxy.port()), (ProxyProtocol::Socks5, "here", 1081));
        assert_eq!((proxy.username(), proxy.password(), proxy.resolve_target()), (Some("me"), Some("secret"), false));
        assert!(proxy.is_no_proxy(&"https://z.org/".parse().unwrap()));
        assert!(!proxy.is_no_proxy(&"https://x.org/".parse().unwrap()));
        let own = found(&[("ALL_PROXY", "http://all"), ("https_proxy", "http://own:3128")]).unwrap();
        assert_eq!((own.host(), own.port()), ("own", 3128));
        assert!(found(&[("ALL_PROXY", "")]).is_none() && found(&[]).is_none());
        assert!(of("http://me:x@localhost:80/a", &[("ALL_PROXY", "http://all")]).unwrap().is_none());
        // It went direct, without a word.
        let error = of("http://x.org/a", &[("http_proxy", "ftp://me:secret@here")]).unwrap_err();
        assert!(error.contains("`http_proxy` is `ftp://***@here`; a proxy reads"), "{error}");
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_password() {
        assert_eq!(shown("https://me:p@ss@host:1/a@b"), "https://***@host:1/a@b");
        assert_eq!(shown("https://token@host/"), "https://***@host/");
        assert_eq!(shown("https://host/a@b"), "https://host/a@b");
        assert_eq!(
            without_secret("cannot open https://me:x@host/", "https://me:x@host/"),
            "cannot open https://***@host/"
        );
    }
}
