//! A GET as the kubelet's HTTP probe makes it (`pkg/probe/http`): one request, no body looked at, redirects followed as
//! long as they stay on the host.

use super::net::{self, Deadline, Stream, is_timeout};
use super::{POD_HOST, tls};
use crate::lifecycle::Outcome;
use k8s_openapi::api::core::v1 as api;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

/// The most of an answer's head that is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How many redirects are followed, as Go's client does.
const MAX_REDIRECTS: usize = 10;
/// What the kubelet calls itself.
const USER_AGENT: &str = concat!("kube-probe/1.36 rhizome/", env!("CARGO_PKG_VERSION"));

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Get {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// With a leading slash, and the query.
    path: String,
    headers: Vec<(String, String)>,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    location: Option<String>,
}

/// Something that is read and written.
pub(super) trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

impl Get {
    pub(super) fn of(get: &api::HTTPGetAction, port: u16) -> Get {
        let path = get.path.clone().unwrap_or_default();
        let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone()));
        Get {
            tls: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| POD_HOST.into()),
            port,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: headers.collect(),
        }
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
    }

    pub(super) fn timed_out(&self) -> String {
        let what = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        format!("Get {:?}: {what}", self.url())
    }

    pub(super) fn probe(&self, address: SocketAddr, deadline: &Deadline) -> Outcome {
        self.ask(address, deadline).map_or_else(Outcome::Failure, outcome)
    }

    /// What an answer's head means; `None` if it is a redirect that is to be followed.
    pub(super) fn judge(&self, head: &[u8]) -> Option<Outcome> {
        match self.parse(head) {
            Err(text) => Some(Outcome::Failure(text)),
            Ok(answer) if self.next(&answer).is_some() => None,
            Ok(answer) => Some(outcome(answer)),
        }
    }

    /// What it means that there is no answer.
    pub(super) fn broken(&self, error: &io::Error) -> Outcome {
        Outcome::Failure(self.said(&net::words(error)))
    }

    /// As Go's client says it.
    pub(super) fn said(&self, text: &str) -> String {
        format!("Get {:?}: {text}", self.url())
    }

    /// The last answer: of what redirects on the same host lead to, or a redirect that leads away.
    ///
    /// # Errors
    /// In Go's words.
    pub(super) fn ask(&self, address: SocketAddr, deadline: &Deadline) -> Result<Answer, String> {
        let mut get = self.clone();
        let mut address = address;
        for _ in 0..MAX_REDIRECTS {
            let answer = get.ask_once(address, deadline)?;
            let Some(next) = get.next(&answer) else { return Ok(answer) };
            address.set_port(next.port);
            get = next;
        }
        Err(format!("Get {:?}: stopped after {MAX_REDIRECTS} redirects", get.url()))
    }

    /// The request that an answer asks for, if it does.
    fn next(&self, answer: &Answer) -> Option<Get> {
        match answer.status {
            301 | 302 | 303 | 307 | 308 => self.redirected(answer.location.as_deref()?),
            _ => None,
        }
    }

    /// The request that a redirect asks for; none if that is to another host.
    fn redirected(&self, location: &str) -> Option<Get> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Get { path: location.to_owned(), ..self.clone() });
        }
        let (tls, rest) = match location.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let usual = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        (host == self.host).then(|| Get { tls, port, path, ..self.clone() })
    }

    fn ask_once(&self, address: SocketAddr, deadline: &Deadline) -> Result<Answer, String> {
        let failed = |error: io::Error| match is_timeout(&error) {
            true => self.timed_out(),
            false => self.said(&net::words(&error)),
        };
        let stream = net::connect(address, deadline).map_err(|text| match text.ends_with("i/o timeout") {
            true => self.timed_out(),
            false => self.said(&text),
        })?;
        let mut stream = self.open(stream).map_err(failed)?;
        stream.write_all(self.request().as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
        let head = read_head(&mut *stream).map_err(failed)?;
        self.parse(&head)
    }

    fn parse(&self, head: &[u8]) -> Result<Answer, String> {
        parse_head(head).map_err(|what| {
            self.said(&format!("net/http: HTTP/1.x transport connection broken: malformed HTTP {what}"))
        })
    }

    fn open(&self, stream: Stream) -> io::Result<Box<dyn Connection>> {
        match self.tls {
            true => Ok(Box::new(tls::connect(stream, &self.host)?)),
            false => Ok(Box::new(stream)),
        }
    }

    pub(super) fn request(&self) -> String {
        let of = |name: &str| self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let host = of("Host").map_or_else(|| format!("{}:{}", self.host, self.port), |(_, v)| v.clone());
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", self.path);
        if of("User-Agent").is_none() {
            text.push_str(&format!("User-Agent: {USER_AGENT}\r\n"));
        }
        // An empty one takes the usual one away.
        if of("Accept").is_none() {
            text.push_str("Accept: */*\r\n");
        }
        let framed = ["Host", "Connection", "Content-Length", "Transfer-Encoding"];
        let breaks = |text: &str| text.contains(['\r', '\n', '\0']);
        let left_out = |name: &str, value: &str| {
            let empty_accept = name.eq_ignore_ascii_case("Accept") && value.is_empty();
            framed.iter().any(|f| f.eq_ignore_ascii_case(name))
                || breaks(name)
                || breaks(value)
                || empty_accept
        };
        for (name, value) in self.headers.iter().filter(|(name, value)| !left_out(name, value)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Connection: close\r\n\r\n");
        text
    }
}

/// Whether there is the empty line, or so much without one that no more is read.
pub(super) fn is_whole(head: &[u8]) -> bool {
    let ends = |end: &[u8]| head.windows(end.len()).any(|window| window == end);
    head.len() > MAX_HEAD_BYTES || ends(b"\r\n\r\n") || ends(b"\n\n")
}

/// What the last answer means.
fn outcome(answer: Answer) -> Outcome {
    match answer.status {
        200..=299 => Outcome::Success,
        300..=399 => {
            let to = answer.location.unwrap_or_default();
            Outcome::Warning(format!("Probe terminated redirects, Location: {to}"))
        }
        status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// Up to and with the empty line.
fn read_head(stream: &mut dyn Connection) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&head) {
        let count = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 && head.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&chunk[..count]);
        if count == 0 {
            break;
        }
    }
    Ok(head)
}

/// Parses an answer's head; what is wrong with it otherwise.
fn parse_head(head: &[u8]) -> Result<Answer, String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    if !version.starts_with("HTTP/1.") {
        return Err(format!("response {first:?}"));
    }
    let code = words.next().unwrap_or_default();
    let status = code.parse().ok().filter(|_| code.len() == 3);
    let status = status.ok_or_else(|| format!("status code {code:?}"))?;
    let fields = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let mut locations = fields.filter(|(name, _)| name.eq_ignore_ascii_case("location"));
    Ok(Answer { status, location: locations.next().map(|(_, value)| value.trim().to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    fn get(value: serde_json::Value, port: u16) -> Get {
        Get::of(&serde_json::from_value(value).unwrap(), port)
    }

    /// A server that gives these answers, one a connection, and then what it was asked.
    fn serve(answers: &'static [&'static str]) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            answers
                .iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let head = String::from_utf8(read_head(&mut stream).unwrap()).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    head
                })
                .collect()
        });
        (address, asked)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn the_request_is_the_kubelets() {
        let asked = get(
            serde_json::json!({"path": "healthz?x=1", "port": 1, "httpHeaders": [
                {"name": "X-Own", "value": "v"}, {"name": "host", "value": "example.org"},
                {"name": "Bad", "value": "a\r\nInjected: yes"}]}),
            8080,
        );
        expect![[r#"
            GET /healthz?x=1 HTTP/1.1
            Host: example.org
            User-Agent: kube-probe/1.36 rhizome/0.1.0
            Accept: */*
            X-Own: v
            Connection: close

        "#]]
        .assert_eq(&asked.request().replace('\r', ""));
        assert_eq!(asked.url(), "http://127.0.0.1:8080/healthz?x=1");
    }

    #[test]
    fn what_an_answer_means() {
        let table: [(&'static [&'static str], Outcome); 4] = [
            (&["HTTP/1.1 204 No Content\r\n\r\n"], Outcome::Success),
            (&["HTTP/1.0 503 No\r\n\r\n"], Outcome::Failure("HTTP probe failed with statuscode: 503".into())),
            (&["HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"], Outcome::Success),
            (
                &["HTTP/1.1 302 Found\r\nlocation: http://elsewhere.org/\r\n\r\n"],
                Outcome::Warning("Probe terminated redirects, Location: http://elsewhere.org/".into()),
            ),
        ];
        for (answers, expected) in table {
            let (address, asked) = serve(answers);
            let get = get(serde_json::json!({"path": "/a", "port": 1}), address.port());
            assert_eq!(get.probe(address, &soon()), expected);
            let asked = asked.join().unwrap();
            assert_eq!(asked.len(), answers.len());
            assert!(asked.last().unwrap().starts_with(if answers.len() == 2 {
                "GET /b "
            } else {
                "GET /a "
            }));
        }
    }

    #[test]
    fn what_is_no_answer() {
        for (answer, part) in [("", ": EOF"), ("SSH-2.0-x\r\n\r\n", "malformed HTTP response \"SSH-2.0-x\"")]
        {
            let (address, _asked) = serve(if answer.is_empty() { &[""] } else { &["SSH-2.0-x\r\n\r\n"] });
            let get = get(serde_json::json!({"path": "/", "port": 1}), address.port());
            let Outcome::Failure(text) = get.probe(address, &soon()) else { panic!("no failure") };
            assert!(text.ends_with(part), "{text}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let get = get(serde_json::json!({"path": "/", "port": 1}), address.port());
        let soon = Deadline::after(Duration::from_millis(200));
        let Outcome::Failure(text) = get.probe(address, &soon) else { panic!("no failure") };
        assert_eq!(text, get.timed_out());
    }
}
