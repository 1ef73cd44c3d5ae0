//! HTTP: a connection's requests in, answers out, with a bound on everything that a client can make long.

use crate::accept;
use crate::decode;
use crate::delete;
use crate::discovery;
use crate::ephemeral;
use crate::error::{ApiError, Result};
use crate::hangup::Hangup;
use crate::list;
use crate::logs;
use crate::metrics;
use crate::object::Key;
use crate::openapi;
use crate::port_forward::Forward;
use crate::query::Query;
use crate::remote_command;
use crate::route::{self, Route};
use crate::server::Shared;
use crate::session::Session;
use crate::verbs;
use crate::watch;
use crate::websocket;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};

/// The longest body that is taken, as the API server has it.
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;
/// How long a request's head may take to come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Memory for a connection's head and for what waits to be written.
const CONNECTION_BYTES: usize = 64 << 10;
/// Pieces of a stream that wait to be written: one may be as long as an object, and a client that does not read keeps them.
const STREAM_PIECES: usize = 1;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(crate) struct Answer {
    code: StatusCode,
    content_type: &'static str,
    text: Bytes,
    stream: Option<Body>,
    warnings: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// JSON that is written already.
    pub(crate) fn bytes(text: Bytes) -> Answer {
        Answer {
            code: StatusCode::OK,
            content_type: "application/json",
            text,
            stream: None,
            warnings: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn json(value: &Value) -> Answer {
        Answer::bytes(value.to_string().into())
    }

    pub(crate) fn yaml(value: &Value) -> Answer {
        Answer { content_type: "application/yaml", ..Answer::bytes(view::document::yaml(value).into()) }
    }

    pub(crate) fn plain(text: impl Into<Bytes>) -> Answer {
        Answer { content_type: "text/plain; charset=utf-8", ..Answer::bytes(text.into()) }
    }

    /// The connection goes on as something else.
    pub(crate) fn upgrade(to: &'static str) -> Answer {
        Answer { content_type: "", ..Answer::bytes(Bytes::new()) }
            .code(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, to)
    }

    /// What Go's server says of a path that is none.
    pub(crate) fn no_path() -> Answer {
        Answer::plain("404 page not found\n").code(StatusCode::NOT_FOUND)
    }

    /// What is written as it comes, by `writer`.
    pub(crate) fn stream<F>(content_type: &'static str, writer: impl FnOnce(Lines) -> F) -> Answer
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel::<Bytes>(STREAM_PIECES);
        tokio::spawn(writer(Lines { sender }));
        let pieces = stream::unfold(receiver, |mut receiver| async move {
            let piece = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), receiver))
        });
        let stream = Some(StreamBody::new(pieces).boxed_unsync());
        Answer { content_type, stream, ..Answer::bytes(Bytes::new()) }
    }

    pub(crate) fn code(mut self, code: StatusCode) -> Answer {
        self.code = code;
        self
    }

    pub(crate) fn content_type(mut self, content_type: &'static str) -> Answer {
        self.content_type = content_type;
        self
    }

    pub(crate) fn warnings(mut self, warnings: Vec<String>) -> Answer {
        self.warnings = warnings;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Answer {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    fn response(self, query: &Query) -> Response<Body> {
        let pretty = self.content_type == "application/json" && query.truth("pretty");
        let text = match pretty.then(|| serde_json::from_slice::<Value>(&self.text)) {
            Some(Ok(value)) => serde_json::to_vec_pretty(&value).map_or(self.text, Bytes::from),
            _ => self.text,
        };
        let body = self.stream.unwrap_or_else(|| Full::new(text).boxed_unsync());
        let mut response = Response::new(body);
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        if !self.content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        }
        for warning in &self.warnings {
            let value = HeaderValue::from_str(&format!("299 - {}", quoted(warning)));
            headers.extend(value.ok().map(|value| (header::WARNING, value)));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

/// As a quoted string of HTTP, which has no line breaks.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(4000) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Answer {
        if error.plain {
            return Answer::plain(error.message().to_owned()).code(error.code);
        }
        Answer::json(&error.to_json()).code(error.code)
    }
}

/// Where a stream's pieces go.
pub(crate) struct Lines {
    sender: mpsc::Sender<Bytes>,
}

impl Lines {
    /// Waits until the client has room for it; none if it has gone.
    pub(crate) async fn send(&mut self, piece: Vec<u8>) -> Option<()> {
        self.sender.send(piece.into()).await.ok()
    }

    /// Ends when the client has gone.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// Ends a connection that cannot be written to: what is queued for it would never go, nor an error behind that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut(Arc<Notify>);

impl Cut {
    pub(crate) fn cut(&self) {
        self.0.notify_one();
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Has shown a certificate of ours, or is this user on our socket.
    Known,
    /// Has shown nothing.
    Unknown,
}

/// Answers the requests of a connection until it ends.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    hangup: Option<Hangup>,
) {
    let cut = Cut::default();
    let service = hyper::service::service_fn(|mut request: Request<Incoming>| {
        let shared = shared.clone();
        request.extensions_mut().insert(cut.clone());
        if let Some(hangup) = &hangup {
            request.extensions_mut().insert(hangup.clone());
        }
        async move { Ok::<_, Infallible>(answer(&shared, peer, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(CONNECTION_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::select! {
        // A client that goes away in the middle is no news.
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection has ended");
        },
        () = cut.0.notified() => tracing::info!("a watch whose client does not read was ended"),
    }
}

async fn answer(shared: &Arc<Shared>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if peer == Peer::Unknown {
        return Answer::from(ApiError::unauthorized()).response(&query);
    }
    let route = route::route(request.uri().path());
    let answered = dispatch(shared, route, &query, request).await;
    answered.unwrap_or_else(Answer::from).response(&query)
}

async fn dispatch(
    shared: &Arc<Shared>,
    route: Route,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer> {
    let read_only = [Method::GET, Method::HEAD].contains(request.method());
    let known = !matches!(route, Route::Collection { .. } | Route::Object { .. } | Route::NoPath);
    if known && !read_only {
        return Err(ApiError::method_not_allowed());
    }
    let head =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accept = head(header::ACCEPT);
    match route {
        Route::Root => Ok(discovery::root()),
        Route::Version => Ok(discovery::version()),
        Route::Health => Ok(Answer::plain("ok")),
        Route::Groups { path } => {
            discovery::groups(&path, accept, head(header::IF_NONE_MATCH), &shared.address)
        }
        Route::GroupVersion { group, version } => Ok(discovery::group_version(&group, &version)),
        Route::NoExtensions => Ok(discovery::no_extensions()),
        Route::OpenApiIndex => Ok(openapi::index()),
        Route::OpenApiOld => Ok(openapi::version_2()),
        Route::OpenApi { group_version } => {
            openapi::document(&group_version).ok_or_else(ApiError::no_such_resource)
        }
        Route::Metrics => {
            Ok(Answer::plain(metrics::text_of(shared))
                .content_type("text/plain; version=0.0.4; charset=utf-8"))
        }
        Route::NoPath => Ok(Answer::no_path()),
        Route::NoResource => Err(ApiError::no_such_resource()),
        Route::Collection { .. } | Route::Object { .. } => objects(shared, route, query, request).await,
    }
}

/// What is done with objects.
async fn objects(
    shared: &Arc<Shared>,
    route: Route,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer> {
    let header = |name: HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
    };
    let (accept, content_type) = (header(header::ACCEPT), header(header::CONTENT_TYPE));
    let method = request.method().clone();
    match route {
        Route::Collection { resource, namespace } => {
            let about = resource.about();
            let namespace = namespace.as_deref();
            let verb = match method {
                Method::GET if query.truth("watch") => "watch",
                Method::GET => "list",
                Method::POST if namespace.is_some() || !about.namespaced => "create",
                Method::DELETE => "deletecollection",
                _ => "",
            };
            if !about.allows(verb) {
                return Err(ApiError::method_not_allowed());
            }
            match verb {
                "watch" => {
                    let cut = request.extensions().get::<Cut>().cloned().unwrap_or_default();
                    watch::watch(shared, resource, namespace, query, (accept::form(&accept)?, cut))
                }
                "list" => list::list(&shared.store, resource, namespace, query, accept::form(&accept)?),
                "create" => {
                    let form = accept::form(&accept)?;
                    let format = decode::format(&content_type)?;
                    let body = body(request).await?;
                    let call = verbs::Call { query: query.clone(), form, format, body };
                    verbs::create(shared, resource, namespace.unwrap_or_default(), call).await
                }
                _ => {
                    let body = body(request).await?;
                    let options = delete::options(query, &body, &content_type)?;
                    delete::collection(shared, resource, namespace, query, &options).await
                }
            }
        }
        Route::Object { resource, namespace, name, subresource } => {
            let key = Key { resource, namespace, name };
            if let Some(subresource) = subresource {
                return part(shared, &key, &subresource, query, request).await;
            }
            let verb = match method {
                Method::GET => "get",
                Method::PUT => "update",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "",
            };
            if !resource.about().allows(verb) {
                return Err(ApiError::method_not_allowed());
            }
            match verb {
                "get" => list::get(&shared.store, &key, query, accept::form(&accept)?),
                "update" => {
                    let form = accept::form(&accept)?;
                    let format = decode::format(&content_type)?;
                    let body = body(request).await?;
                    verbs::update(shared, &key, verbs::Call { query: query.clone(), form, format, body })
                        .await
                }
                "patch" => {
                    let form = accept::form(&accept)?;
                    let body = body(request).await?;
                    verbs::patch(shared, &key, query, form, &content_type, body).await
                }
                _ => {
                    let body = body(request).await?;
                    let options = delete::options(query, &body, &content_type)?;
                    delete::one(shared, &key, query, accept::form(&accept)?, &options).await
                }
            }
        }
        _ => Ok(Answer::no_path()),
    }
}

/// What lies below an object.
async fn part(
    shared: &Arc<Shared>,
    key: &Key,
    subresource: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer> {
    let method = request.method().as_str();
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    match (subresource, method) {
        ("log", "GET") => logs::log(shared, key, query).await,
        ("status", "GET") => list::get(&shared.store, key, query, accept::form(accept)?),
        ("eviction", "POST") => {
            let content_type = request.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
            let body = body(request).await?;
            delete::evict(shared, key, query, &body, &content_type).await
        }
        ("exec" | "attach", "GET" | "POST") => {
            let session = Session::of(shared, key, query, subresource == "exec")?;
            if remote_command::is_asked_for(request.headers()) {
                let (headers, hangup) = (request.headers().clone(), request.extensions().get().cloned());
                return remote_command::open(session, &headers, hyper::upgrade::on(request), hangup);
            }
            if !websocket::is_asked_for(request.headers()) {
                return Err(ApiError::bad_request("Upgrade request required"));
            }
            let (headers, hangup) = (request.headers().clone(), request.extensions().get().cloned());
            websocket::open(session, &headers, hyper::upgrade::on(request), hangup)
        }
        ("portforward", "GET" | "POST") => {
            let forward = Forward::of(shared, key)?;
            let (headers, hangup) = (request.headers().clone(), request.extensions().get().cloned());
            if remote_command::is_asked_for(&headers) {
                return forward.open(&headers, hyper::upgrade::on(request), hangup);
            }
            if !websocket::is_asked_for(&headers) {
                return Err(ApiError::bad_request("Upgrade request required"));
            }
            forward.open_tunnel(&headers, hyper::upgrade::on(request), hangup)
        }
        ("ephemeralcontainers", "GET") => list::get(&shared.store, key, query, accept::form(accept)?),
        ("ephemeralcontainers", "PATCH" | "PUT") => {
            let content_type = request.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
            let (form, patch) = (accept::form(accept)?, method == "PATCH");
            let body = body(request).await?;
            let becomes = ephemeral::replaced;
            if patch {
                return verbs::patch_by(shared, key, (query, form), &content_type, body, becomes).await;
            }
            let format = decode::format(&content_type)?;
            verbs::update_by(shared, key, verbs::Call { query: query.clone(), form, format, body }, becomes)
                .await
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The body, whole.
async fn body(request: Request<Incoming>) -> Result<Bytes> {
    let limited = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, limited).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large(MAX_BODY_BYTES))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => Err(ApiError::slow_body()),
    }
}
