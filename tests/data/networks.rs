//! `litesnn data fetch` in networks that are not open: a certificate authority of one's own, a proxy,
//! an address with a password.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{data, failure};

/// `litesnn data fetch cifar10` from an address, and nothing of the environment's own networks.
fn fetch(home: &Path, from: &str) -> Command {
    let mut command = data(home);
    for name in ["ALL", "HTTP", "HTTPS", "NO"] {
        command.env_remove(format!("{name}_PROXY")).env_remove(format!("{name}_PROXY").to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    command.args(["fetch", "cifar10", "--timeout", "5", "--from", from]);
    command
}

/// A server whose certificate is of an authority that no system knows.
struct Https {
    folder: TempDir,
    server: Child,
    port: u16,
}

impl Https {
    /// `None` where there is no `openssl`.
    fn start() -> Option<Https> {
        let folder = TempDir::new().unwrap();
        let openssl = |words: &str| {
            let mut command = Command::new("openssl");
            command.args(words.split(' ')).current_dir(folder.path()).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        openssl("version").status().ok().filter(|status| status.success())?;
        let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n";
        std::fs::write(folder.path().join("extensions"), extensions).unwrap();
        for words in [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Local -keyout ca.key -out ca.pem \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem",
        ] {
            assert!(openssl(words).status().unwrap().success(), "openssl {words}");
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = openssl(&format!("s_server -accept {port} -cert cert.pem -key key.pem -www")).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < end, "openssl s_server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Https { folder, server, port })
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn an_authority_of_ones_own_is_believed_where_it_is_named() {
    let Some(server) = Https::start() else {
        writeln!(io::stderr(), "test skipped: there is no `openssl` to make certificates").unwrap();
        return;
    };
    let home = TempDir::new().unwrap();
    let url = format!("https://localhost:{}/", server.port);
    let (code, _, err) = failure(&mut fetch(home.path(), &url));
    assert!(code == 1 && err.contains("UnknownIssuer") && err.contains("SSL_CERT_FILE"), "{err}");
    // Behind the handshake there is a page and not the data set.
    let authority = server.folder.path().join("ca.pem");
    let (code, _, err) = failure(fetch(home.path(), &url).env("SSL_CERT_FILE", &authority));
    assert!(code == 1 && err.contains("of 170052171 bytes"), "{err}");
    let (code, _, err) = failure(fetch(home.path(), &url).env("SSL_CERT_FILE", home.path().join("none.pem")));
    assert!(code == 1 && err.contains("`SSL_CERT_FILE` names") && err.contains("none.pem"), "{err}");
}

/// A SOCKS5 proxy that answers one request itself, with status 404; what it was asked to reach.
fn socks() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let read = |connection: &mut TcpStream, count| {
            let mut bytes = vec![0; count];
            connection.read_exact(&mut bytes).unwrap();
            bytes
        };
        let methods = read(&mut connection, 2)[1];
        read(&mut connection, usize::from(methods));
        connection.write_all(&[5, 0]).unwrap();
        // Version, connect, reserved, and 3: a name follows.
        assert_eq!(read(&mut connection, 4), [5, 1, 0, 3]);
        let length = read(&mut connection, 1)[0];
        let host = String::from_utf8(read(&mut connection, usize::from(length))).unwrap();
        read(&mut connection, 2);
        connection.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut lines = BufReader::new(&connection).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        (&connection).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        host
    });
    (port, asked)
}

#[test]
fn a_socks_proxy_is_asked_and_resolves_the_name() {
    let home = TempDir::new().unwrap();
    let (port, asked) = socks();
    let proxy = format!("socks5://127.0.0.1:{port}");
    let (code, _, err) = failure(fetch(home.path(), "http://mirror.invalid/").env("ALL_PROXY", proxy));
    assert!(code == 1 && err.contains("answers with status 404"), "{err}");
    assert_eq!(asked.join().unwrap(), "mirror.invalid");
}

#[test]
fn a_proxy_of_an_unknown_kind_is_refused_and_not_gone_around() {
    let home = TempDir::new().unwrap();
    let (code, _, err) =
        failure(fetch(home.path(), "http://mirror.invalid/").env("http_proxy", "quic://me:secret@proxy:1"));
    assert!(code == 1 && err.contains("`http_proxy` is `quic://***@proxy:1`") && err.contains("socks5"), "{err}");
}

#[test]
fn a_password_in_an_address_is_shown_nowhere() {
    let home = TempDir::new().unwrap();
    for address in ["http://me:secret@127.0.0.1:9/", "https://me:secret@127.0.0.1:9/", "ftp://me:secret@127.0.0.1/"] {
        let (code, out, err) = failure(&mut fetch(home.path(), address));
        assert_ne!(code, 0);
        assert!(!format!("{out}{err}").contains("secret"), "{out}{err}");
        assert!(err.contains("***@127.0.0.1"), "{err}");
    }
    let (_, out, err) =
        failure(fetch(home.path(), "http://mirror.invalid/").env("ALL_PROXY", "http://me:secret@127.0.0.1:9"));
    assert!(!format!("{out}{err}").contains("secret"), "{out}{err}");
}
