//! Pulling from a real registry, and from one behind a front that misbehaves.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::{
    Digest, DockerConfig, Error, LayerState, Progress, PullOptions, Pulled, Registries, RegistryError, Store,
};
use serde_json::{Value, json};
use support::registry::{Action, Front, INDEX, Layer, MANIFEST, Message, Registry, Setup, image_config};
use support::{Tar, World, chain};

fn options() -> PullOptions {
    PullOptions { retry_wait: Duration::from_millis(1), ..PullOptions::default() }
}

fn pull(world: &World, reference: &str) -> image::Result<Pulled> {
    world.store.pull(reference, &options(), &|_| ())
}

/// Also what was reported.
fn pull_with(
    world: &World,
    reference: &str,
    options: &PullOptions,
) -> (image::Result<Pulled>, Vec<Progress>) {
    let reports = Mutex::default();
    let result = world.store.pull(reference, options, &|progress| {
        let mut reports: std::sync::MutexGuard<'_, Vec<_>> = reports.lock().unwrap();
        reports.push(progress);
    });
    (result, reports.into_inner().unwrap())
}

fn warnings(reports: &[Progress]) -> Vec<String> {
    let text = |p: &Progress| match p {
        Progress::Warning { text } => Some(text.clone()),
        _ => None,
    };
    reports.iter().filter_map(text).collect()
}

fn base() -> Layer {
    Layer::gzip(Tar::new().dir("bin").file("bin/sh", b"shell").end())
}

fn top(name: &str) -> Layer {
    Layer::zstd(Tar::new().file(name, &[b'x'; 100_000]).end())
}

fn registries(text: &Value) -> PullOptions {
    let registries = Registries::parse(text.to_string().as_bytes(), "registries.json").unwrap();
    PullOptions { registries, ..options() }
}

fn config_of(host: &str, user: &str, password: &str) -> DockerConfig {
    let text = json!({"auths": {host: {"username": user, "password": password}}});
    DockerConfig::parse(text.to_string().as_bytes(), "config.json").unwrap()
}

/// The store has nothing of an image: no name, no layer, nothing in the making.
fn assert_nothing(world: &World) {
    assert_eq!(world.store.list().unwrap(), []);
    // Whoever opens the store tidies it, unless somebody uses it; here another test may just have forked.
    let tidied = (0..100).any(|_| {
        Store::open(world.path("store")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
        world.in_store("tmp") == [""; 0]
    });
    assert!(tidied, "{:?}", world.in_store("tmp"));
    world.store.prune(false).unwrap();
    for dir in ["layers", "images", "blobs"] {
        assert_eq!(world.in_store(dir), [""; 0], "{dir}");
    }
}

#[test]
fn an_image_comes_whole_and_its_layers_are_shared() {
    let Some(registry) = Registry::start("an_image_comes_whole_and_its_layers_are_shared") else { return };
    let front = Front::start(registry.port, |_| Action::Forward);
    let world = World::new();
    let pushed = registry.push("team/one", "v1", &[base(), top("a"), Layer::plain(base().plain)]);
    let reference = front.reference("team/one:v1");
    let (pulled, reports) = pull_with(&world, &reference, &options());
    let pulled = pulled.unwrap();
    assert_eq!(
        (pulled.digest.clone(), pulled.image.reference.as_str()),
        (pushed.digest.clone(), &*reference)
    );
    let [lower, upper] = pulled.image.layers.as_slice() else { panic!("{:?}", pulled.image.layers) };
    assert_eq!(fs::read(lower.join("a")).unwrap(), [b'x'; 100_000]);
    assert_eq!(fs::read(upper.join("bin/sh")).unwrap(), b"shell");
    assert_eq!(pulled.image.config.cmd, ["/bin/sh"]);
    assert_eq!(world.store.get(&reference).unwrap(), pulled.image);
    assert!(pulled.downloaded > 0);
    let finished =
        |p: &&Progress| matches!(p, Progress::Layer { state: LayerState::Done | LayerState::Present, .. });
    assert_eq!(reports.iter().filter(finished).count(), 2, "{reports:?}");
    assert!(warnings(&reports).is_empty());

    let about = world.store.inspect(&reference).unwrap();
    let repository = front.reference("team/one");
    assert_eq!(about.repo_digests, [format!("{repository}@{}", pushed.digest)]);
    assert_eq!(world.store.repo_digest(&pulled.image.id).unwrap(), Some(about.repo_digests[0].clone()));
    assert_eq!(about.created.as_deref(), Some("2024-05-06T07:08:09Z"));
    assert_eq!(about.platform, format!("linux/{}", support::architecture()));
    let blobs: Vec<_> = about.layers.iter().map(|l| l.blob.as_ref().unwrap().digest.clone()).collect();
    assert!(blobs.contains(&pushed.blobs[1]), "{blobs:?}");
    assert_eq!(about.layers.iter().map(|l| l.size).sum::<u64>(), 100_005);

    // Another image on the same base: only what is new is asked for.
    let pushed = registry.push("team/two", "latest", &[base(), top("b")]);
    pull(&world, &front.reference("team/two")).unwrap();
    assert_eq!([front.asked(&pushed.blobs[0]), front.asked(&pushed.blobs[1])], [1, 1]);
    // The same again: one manifest and nothing else.
    let before = front.seen().len();
    assert_eq!(pull(&world, &front.reference("team/two")).unwrap().downloaded, 0);
    assert_eq!(front.seen().len(), before + 1);
    assert!(front.seen()[before].start.starts_with("HEAD "), "which registries do not count as a pull");
    // The name means something else now; then a layer is missing.
    let changed = registry.push("team/two", "latest", &[base(), top("c")]);
    let pulled = pull(&world, &front.reference("team/two")).unwrap();
    assert_eq!(pulled.digest, changed.digest);
    assert_eq!(world.in_store("layers").len(), 3, "b is gone");
    fs::remove_dir_all(pulled.image.layers[1].parent().unwrap()).unwrap();
    assert!(world.store.get(&front.reference("team/two")).is_err());
    assert!(pull(&world, &front.reference("team/two")).unwrap().downloaded > 0);
    assert_eq!(world.in_store("blobs"), [""; 0]);
    assert_eq!(world.in_store("tmp"), [""; 0]);
}

#[test]
fn a_digest_is_a_name_too() {
    let Some(registry) = Registry::start("a_digest_is_a_name_too") else { return };
    let world = World::new();
    let pushed = registry.push("x", "v1", &[base()]);
    let by_digest = registry.reference(&format!("x@{}", pushed.digest));
    let pulled = pull(&world, &by_digest).unwrap();
    assert_eq!(pulled.image.reference, by_digest);
    let other = registry.reference(&format!("x@{}", Digest::of(b"something else")));
    let error = pull(&world, &other).unwrap_err();
    assert!(chain(&error).ends_with(": not found"), "{}", chain(&error));
}

#[test]
fn what_is_not_there_is_said_in_containerds_words() {
    let test = "what_is_not_there_is_said_in_containerds_words";
    let Some(registry) = Registry::start(test) else { return };
    let world = World::new();
    let name = registry.reference("nosuch:latest");
    let error = pull(&world, &name).unwrap_err();
    assert_eq!(
        image::message::failed(&name, &error),
        format!(
            "Failed to pull image {name:?}: failed to pull and unpack image {name:?}: failed to resolve image: \
             {name}: not found"
        )
    );
    drop(registry);
    let begun = Instant::now();
    let error = pull(&world, &name).unwrap_err();
    assert!(chain(&error).contains("Connection refused"), "{}", chain(&error));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_nothing(&world);
}

#[test]
fn passwords_come_from_docker_and_from_secrets() {
    let test = "passwords_come_from_docker_and_from_secrets";
    // `htpasswd -Bbn alice correct`
    let made = Command::new("htpasswd").args(["-Bbn", "alice", "correct"]).output();
    let Ok(made) = made else {
        support::skip(test, "the program htpasswd is not installed");
        return;
    };
    let htpasswd = String::from_utf8(made.stdout).unwrap();
    let Some(closed) = Registry::start_with(test, &Setup { htpasswd: Some(htpasswd), tls: None }) else {
        return;
    };
    // The tests' client knows no passwords: pushed to an open registry with the same storage.
    let open = Registry::start(test).unwrap();
    let pushed = open.push("team/one", "latest", &[base(), top("a")]);
    closed.copy_storage_of(&open);
    let (world, name) = (World::new(), closed.reference("team/one"));
    let host = format!("127.0.0.1:{}", closed.port);

    let error = pull(&world, &name).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("pull access denied for team/one") && text.contains("anonymous"), "{text}");
    assert!(error.hint().unwrap().contains("docker login"), "{:?}", error.hint());
    let wrong = PullOptions { config: config_of(&host, "alice", "wrong"), ..options() };
    let text = chain(&world.store.pull(&name, &wrong, &|_| ()).unwrap_err());
    assert!(text.contains("user \"alice\"") && !text.contains("wrong"), "{text}");
    assert_nothing(&world);

    let right = PullOptions { config: config_of(&host, "alice", "correct"), ..options() };
    assert_eq!(world.store.pull(&name, &right, &|_| ()).unwrap().digest, pushed.digest);
    // A secret comes before the user's own file, and what is wrong is passed over.
    let world = World::new();
    let secret = json!({"auths": {"127.0.0.1:1": {"auth": "eDp5"}, &host: {"auth": "YWxpY2U6Y29ycmVjdA=="}}});
    let secret = DockerConfig::parse_secret(secret.to_string().as_bytes(), "secret").unwrap();
    let mixed = PullOptions { secrets: vec![config_of(&host, "bob", "x"), secret], ..wrong };
    world.store.pull(&name, &mixed, &|_| ()).unwrap();
}

#[test]
fn a_credential_helper_is_asked() {
    let test = "a_credential_helper_is_asked";
    let Some(registry) = Registry::start(test) else { return };
    registry.push("one", "latest", &[base()]);
    // `printf 'carol:from helper' | base64`
    let front = Front::start(registry.port, |request| match request.header("authorization") {
        Some("Basic Y2Fyb2w6ZnJvbSBoZWxwZXI=") => Action::Forward,
        _ => Action::Answer(401, vec![("WWW-Authenticate".into(), "Basic realm=\"x\"".into())], vec![]),
    });
    let world = World::new();
    let script = "#!/bin/sh\nread server\n[ \"$1\" = get ] || exit 3\n\
        case \"$server\" in 127.0.0.1:*) printf '{\"ServerURL\":\"%s\",\"Username\":\"carol\",\"Secret\":\"from helper\"}' \"$server\";;\n\
        *) echo 'credentials not found in native keychain'; exit 1;; esac\n";
    let helper = world.write("docker-credential-test", script.as_bytes());
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let child = |config: &Value| {
        let path = world.write("config.json", config.to_string().as_bytes());
        let path_variable = format!("{}:{}", world.path("").display(), std::env::var("PATH").unwrap());
        let mut child = child(&world.path("store"), &front.reference("one"));
        child.env("PATH", path_variable).env("RHIZOME_TEST_CONFIG", path).output().unwrap()
    };
    let output = child(&json!({"credsStore": "nosuch"}));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("docker-credential-nosuch failed"), "{said}");
    let output = child(&json!({"credHelpers": {format!("127.0.0.1:{}", front.port): "test"}}));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    world.store.get(&front.reference("one")).unwrap();
}

#[test]
fn a_tampered_blob_leaves_nothing() {
    let Some(registry) = Registry::start("a_tampered_blob_leaves_nothing") else { return };
    let world = World::new();
    let pushed = registry.push("one", "latest", &[base(), Layer::noise("big", 300_000)]);
    let file = registry.blob_file(&pushed.blobs[1]);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = pull(&world, &registry.reference("one")).unwrap_err();
    let Error::Pull { source, .. } = &error else { panic!("{error:?}") };
    assert!(
        matches!(&**source, Error::DigestMismatch { expected, .. } if *expected == pushed.blobs[1]),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("push it again"));
    assert_eq!(world.in_store("blobs"), [""; 0], "what is wrong is not kept for later");
    assert_nothing(&world);
    // Mended, it comes.
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    pull(&world, &registry.reference("one")).unwrap();
}

#[test]
fn sizes_and_documents_that_lie_are_refused() {
    let Some(registry) = Registry::start("sizes_and_documents_that_lie_are_refused") else { return };
    let world = World::new();
    let layers = [base()];
    let good = registry.push_parts("one", &layers, image_config(&layers, support::architecture()));
    let refused = |manifest: &Value| {
        let text = serde_json::to_vec(manifest).unwrap();
        registry.push_manifest("one", "bad", MANIFEST, &text);
        let error = pull(&world, &registry.reference("one:bad")).unwrap_err();
        assert_nothing(&world);
        chain(&error)
    };
    let changed = |path: &str, value: Value| {
        let mut manifest = good.clone();
        *manifest.pointer_mut(path).unwrap() = value;
        manifest
    };
    let size = good["layers"][0]["size"].as_u64().unwrap();
    let text = refused(&changed("/layers/0/size", json!(size - 1)));
    assert!(text.contains("bytes where"), "{text}");
    let text = refused(&changed("/layers/0/size", json!(size + 1)));
    assert!(text.contains("broke off"), "{text}");
    let text = refused(&changed("/layers/0/size", json!(1_u64 << 50)));
    assert!(text.contains("bytes where"), "{text}");
    let text = refused(&changed("/config/size", json!(3)));
    assert!(text.contains("bytes where 3 were promised"), "{text}");
    let text = refused(&changed("/layers/0/mediaType", json!("application/vnd.example.secret+encrypted")));
    assert!(text.contains("cannot be unpacked here"), "{text}");
    let text = refused(&changed("/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")));
    assert!(text.contains("not a container image"), "{text}");
    // The config names another layer than the blob is.
    let other = image_config(&[top("other")], support::architecture());
    let text = refused(&registry.push_parts("one", &layers, other));
    assert!(text.contains("the uncompressed layer"), "{text}");
    let text = refused(&registry.push_parts("one", &layers, image_config(&[], support::architecture())));
    assert!(text.contains("the manifest has 1 layers, the config 0"), "{text}");
}

#[test]
fn a_front_can_lie_in_more_ways() {
    let Some(registry) = Registry::start("a_front_can_lie_in_more_ways") else { return };
    let world = World::new();
    registry.push("one", "latest", &[base()]);
    let refused = |kind: &str, body: Vec<u8>| {
        let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        let front = Front::start(registry.port, move |_| Action::Answer(200, headers.clone(), body.clone()));
        let error = pull(&world, &front.reference("one")).unwrap_err();
        assert_nothing(&world);
        chain(&error)
    };
    let text = refused(MANIFEST, vec![b' '; (4 << 20) + 1]);
    assert!(text.contains("longer than 4194304 bytes"), "{text}");
    let text = refused("text/html", b"<html>a login page</html>".to_vec());
    assert!(text.contains("malformed manifest"), "{text}");
    let text = refused(MANIFEST, br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec());
    assert!(text.contains("schema 1"), "{text}");
    let both = br#"{"schemaVersion":2,"manifests":[],"config":{}}"#.to_vec();
    let text = refused(MANIFEST, both);
    assert!(text.contains("is an index, too"), "{text}");
    let text = refused(INDEX, br#"{"schemaVersion":2,"manifests":[]}"#.to_vec());
    assert!(text.contains("this machine is"), "{text}");
    // The registry's own word for what it sends is held against it.
    let front = Front::start(registry.port, |_| {
        let digest = Digest::of(b"another").to_string();
        Action::Answer(200, vec![("Docker-Content-Digest".into(), digest)], b"{}".to_vec())
    });
    let text = chain(&pull(&world, &front.reference("one")).unwrap_err());
    assert!(text.contains("was promised"), "{text}");
}

#[test]
fn a_cut_connection_goes_on_where_it_broke() {
    let Some(registry) = Registry::start("a_cut_connection_goes_on_where_it_broke") else { return };
    let world = World::new();
    let layer = Layer::noise("big", 2_000_000);
    let pushed = registry.push("one", "latest", &[base(), layer.clone()]);
    let big = pushed.blobs[1].clone();
    let wanted = big.clone();
    let front = Front::start(registry.port, move |request| {
        if request.path().contains(wanted.hex()) { Action::Cut(300_000) } else { Action::Forward }
    });
    let (pulled, reports) = pull_with(&world, &front.reference("one"), &options());
    let pulled = pulled.unwrap();
    let whole = (layer.packed.len() + base().packed.len()) as u64;
    assert_eq!(pulled.downloaded, whole, "nothing comes twice");
    let retries =
        reports.iter().filter(|p| matches!(p, Progress::Layer { state: LayerState::Retrying { .. }, .. }));
    assert_eq!(retries.count(), 6);
    let ranges: Vec<_> = front
        .seen()
        .iter()
        .filter(|request| request.path().contains(big.hex()))
        .map(|request| request.header("range").unwrap_or("none").to_owned())
        .collect();
    let expected: Vec<_> =
        (0..7).map(|n| if n == 0 { "none".to_owned() } else { format!("bytes={}-", n * 300_000) }).collect();
    assert_eq!(ranges, expected);
    assert_eq!(fs::read(pulled.image.layers[1].join("big")).unwrap().len(), 2_000_000);
}

#[test]
fn a_line_that_stays_dead_is_given_up_and_the_next_pull_goes_on() {
    let test = "a_line_that_stays_dead_is_given_up_and_the_next_pull_goes_on";
    let Some(registry) = Registry::start(test) else { return };
    let world = World::new();
    let layer = Layer::noise("big", 1_000_000);
    let pushed = registry.push("one", "latest", std::slice::from_ref(&layer));
    let times = AtomicUsize::new(0);
    let front = Front::start(registry.port, move |request| match request.is_blob() {
        // The config is the first blob, then the layer.
        true => match times.fetch_add(1, Ordering::Relaxed) {
            0 => Action::Forward,
            1 => Action::Cut(600_000),
            _ => Action::Cut(0),
        },
        false => Action::Forward,
    });
    let error = pull(&world, &front.reference("one")).unwrap_err();
    assert!(chain(&error).contains("broke off after 600000 of "), "{}", chain(&error));
    assert_eq!(front.asked(&pushed.blobs[0]), 6, "one that brought something and five that did not");
    assert_eq!(world.store.list().unwrap(), []);
    assert_eq!(world.in_store("layers"), [""; 0]);
    assert_eq!(fs::metadata(world.path("store/blobs").join(pushed.blobs[0].hex())).unwrap().len(), 600_000);
    // Elsewhere, later, another process: the rest is enough.
    let pulled = pull(&world, &registry.reference("one")).unwrap();
    assert_eq!(pulled.downloaded, layer.packed.len() as u64 - 600_000);
    assert_eq!(world.in_store("blobs"), [""; 0]);
}

#[test]
fn a_connection_without_a_byte_is_broken_too() {
    let Some(registry) = Registry::start("a_connection_without_a_byte_is_broken_too") else { return };
    let world = World::new();
    let layer = Layer::noise("big", 500_000);
    let pushed = registry.push("one", "latest", std::slice::from_ref(&layer));
    let (times, blob) = (AtomicUsize::new(0), pushed.blobs[0].clone());
    let front = Front::start(registry.port, move |request| {
        match request.path().contains(blob.hex()).then(|| times.fetch_add(1, Ordering::Relaxed)) {
            Some(0) => Action::Stall(100_000),
            _ => Action::Forward,
        }
    });
    let begun = Instant::now();
    let options = PullOptions { stall: Duration::from_millis(500), ..options() };
    let (pulled, reports) = pull_with(&world, &front.reference("one"), &options);
    assert_eq!(pulled.unwrap().downloaded, layer.packed.len() as u64, "{reports:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(front.asked(&pushed.blobs[0]), 2);
}

#[test]
fn a_damaged_beginning_costs_one_more_fetch() {
    let Some(registry) = Registry::start("a_damaged_beginning_costs_one_more_fetch") else { return };
    let world = World::new();
    let layer = Layer::noise("big", 100_000);
    let pushed = registry.push("one", "latest", std::slice::from_ref(&layer));
    fs::create_dir_all(world.path("store/blobs")).unwrap();
    fs::write(world.path("store/blobs").join(pushed.blobs[0].hex()), [0; 50_000]).unwrap();
    let pulled = pull(&world, &registry.reference("one")).unwrap();
    assert_eq!(pulled.downloaded, layer.packed.len() as u64 * 2 - 50_000);
}

#[test]
fn a_server_without_ranges_and_one_that_redirects() {
    let Some(registry) = Registry::start("a_server_without_ranges_and_one_that_redirects") else { return };
    let layer = Layer::noise("big", 500_000);
    let pushed = registry.push("one", "latest", std::slice::from_ref(&layer));
    // Each answer has the whole blob, whatever was asked for, and the first is cut.
    let times = AtomicUsize::new(0);
    let (blob, bytes) = (pushed.blobs[0].clone(), layer.packed.clone());
    let inner = Front::start(registry.port, move |request| match request.path().contains(blob.hex()) {
        true if times.fetch_add(1, Ordering::Relaxed) == 0 => Action::Cut(200_000),
        true => Action::Answer(200, vec![], bytes.clone()),
        false => Action::Forward,
    });
    let world = World::new();
    let pulled = pull(&world, &inner.reference("one")).unwrap();
    assert_eq!(pulled.downloaded, 200_000 + layer.packed.len() as u64);

    // A registry that wants a password and sends blobs from elsewhere, which must not see it.
    let store = Front::start(registry.port, |_| Action::Forward);
    let port = store.port;
    let outer = Front::start(registry.port, move |request| {
        if request.header("authorization").is_none() {
            return Action::Answer(
                401,
                vec![("WWW-Authenticate".into(), "Basic realm=\"x\"".into())],
                vec![],
            );
        }
        if request.is_blob() {
            let location = format!("http://localhost:{port}{}", request.path());
            return Action::Answer(307, vec![("Location".into(), location)], vec![]);
        }
        Action::Forward
    });
    let world = World::new();
    let config = config_of(&format!("127.0.0.1:{}", outer.port), "alice", "secret");
    let options = PullOptions { config, ..options() };
    world.store.pull(&outer.reference("one"), &options, &|_| ()).unwrap();
    let seen = store.seen();
    assert_eq!(seen.len(), 2, "config and layer");
    assert!(seen.iter().all(|request| request.header("authorization").is_none()), "{seen:?}");
}

#[test]
fn a_busy_registry_is_asked_again() {
    let Some(registry) = Registry::start("a_busy_registry_is_asked_again") else { return };
    let world = World::new();
    registry.push("one", "latest", &[base()]);
    let times = AtomicUsize::new(0);
    let front = Front::start(registry.port, move |_| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Action::Answer(503, vec![], vec![]),
        2 | 4 => Action::Answer(429, vec![("Retry-After".into(), "0".into())], vec![]),
        _ => Action::Forward,
    });
    let (pulled, reports) = pull_with(&world, &front.reference("one"), &options());
    pulled.unwrap();
    assert_eq!(warnings(&reports).len(), 2, "{reports:?}");
    let busy = Front::start(registry.port, |_| {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your rate limit"}]}"#;
        Action::Answer(429, vec![], body.to_vec())
    });
    let error = pull(&world, &busy.reference("one")).unwrap_err();
    assert!(chain(&error).ends_with("answers 429: You have reached your rate limit"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("mirror"));
    assert_eq!(busy.seen().len(), 3);
}

#[test]
fn tokens_are_fetched_and_renewed() {
    let Some(registry) = Registry::start("tokens_are_fetched_and_renewed") else { return };
    let world = World::new();
    let layers: Vec<_> = (0..4).map(|n| Layer::noise(&format!("f{n}"), 50_000)).collect();
    registry.push("team/one", "latest", &layers);
    // Each token is good for two requests.
    let issued = AtomicUsize::new(0);
    let uses = Mutex::new(std::collections::HashMap::<String, usize>::new());
    let front = Front::start(registry.port, move |request| {
        token_service(request, &issued, |token| {
            let mut uses = uses.lock().unwrap();
            let count = uses.entry(token.to_owned()).or_default();
            *count += 1;
            *count <= 2
        })
    });
    let host = format!("127.0.0.1:{}", front.port);
    let name = front.reference("team/one");
    let pulled = pull(&world, &name).unwrap();
    assert_eq!(pulled.image.layers.len(), 4);
    let asked: Vec<_> = front.seen().into_iter().filter(|r| r.path().starts_with("/token")).collect();
    assert!(asked.len() >= 3, "six requests need three tokens: {asked:?}");
    assert_eq!(asked[0].path(), "/token?scope=repository%3Ateam%2Fone%3Apull&service=reg%20test");
    assert!(asked.iter().all(|request| request.header("authorization").is_none()));

    // With a password, the token service gets it and the registry only sees tokens.
    let before = front.seen().len();
    let options = PullOptions { config: config_of(&host, "alice", "pw"), ..options() };
    World::new().store.pull(&name, &options, &|_| ()).unwrap();
    for request in &front.seen()[before..] {
        let sent = request.header("authorization").unwrap_or_default();
        // `printf alice:pw | base64`
        assert_eq!(sent == "Basic YWxpY2U6cHc=", request.path().starts_with("/token"), "{request:?}");
    }
    // An identity token is sent in a form, not in an address that ends in logs.
    let text = json!({"auths": {&host: {"identitytoken": "re/fresh"}}}).to_string();
    let before = front.seen().len();
    let options = PullOptions { config: DockerConfig::parse(text.as_bytes(), "").unwrap(), ..options };
    World::new().store.pull(&name, &options, &|_| ()).unwrap();
    let seen = front.seen();
    let post = seen[before..].iter().find(|r| r.path().starts_with("/token")).unwrap();
    let form = String::from_utf8_lossy(&post.body);
    assert!(post.start.starts_with("POST /token HTTP"), "{post:?}");
    assert!(form.contains("grant_type=refresh_token&refresh_token=re%2Ffresh"), "{form}");
}

/// A registry in Bearer's way, and its token service, in one.
fn token_service(request: &Message, issued: &AtomicUsize, good: impl Fn(&str) -> bool) -> Action {
    let host = request.header("host").unwrap();
    if request.path().starts_with("/token") {
        let token = format!("token-{}", issued.fetch_add(1, Ordering::Relaxed));
        return Action::Answer(200, vec![], json!({"access_token": token}).to_string().into_bytes());
    }
    match request.header("authorization").and_then(|sent| sent.strip_prefix("Bearer ")) {
        Some(token) if good(token) => Action::Forward,
        _ => {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"reg test\"");
            Action::Answer(401, vec![("WWW-Authenticate".into(), challenge)], vec![])
        }
    }
}

#[test]
fn a_token_service_that_cannot_be_trusted_gets_nothing() {
    let test = "a_token_service_that_cannot_be_trusted_gets_nothing";
    let Some(registry) = Registry::start(test) else { return };
    let world = World::new();
    for (challenge, reason) in [
        ("Bearer realm=\"http://192.0.2.1/token\"", "would get credentials in plain HTTP"),
        ("Bearer realm=\"http://localhost.evil.test/token\"", "would get credentials in plain HTTP"),
        ("Bearer service=\"x\"", "has no address"),
        ("Bearer realm=\"ftp://localhost/x\"", "has no address in HTTP"),
        ("Negotiate", "it offers only negotiate"),
    ] {
        let front = Front::start(registry.port, move |_| {
            Action::Answer(401, vec![("WWW-Authenticate".into(), challenge.into())], vec![])
        });
        let config = config_of(&format!("127.0.0.1:{}", front.port), "alice", "secret");
        let options = PullOptions { config, ..options() };
        let error = world.store.pull(&front.reference("x"), &options, &|_| ()).unwrap_err();
        assert!(chain(&error).contains(reason), "{}", chain(&error));
        assert_eq!(front.seen().len(), 1);
    }
}

#[test]
fn mirrors_are_asked_first_and_passed_over_when_they_fail() {
    let test = "mirrors_are_asked_first_and_passed_over_when_they_fail";
    let Some(registry) = Registry::start(test) else { return };
    let Some(other) = Registry::start(test) else { return };
    let pushed = registry.push("team/one", "latest", &[base(), top("a")]);
    other.push("cache/team/one", "latest", &[base(), top("a")]);
    let mirror = Front::start(other.port, |_| Action::Forward);
    let origin = Front::start(registry.port, |_| Action::Forward);
    let name = origin.reference("team/one:latest");
    let host = format!("127.0.0.1:{}", origin.port);
    let (dead, good) = ("localhost:1", format!("127.0.0.1:{}/cache", mirror.port));
    let settings = registries(&json!({"registries": {&host: {"mirrors": [dead, good]}}}));
    let world = World::new();
    let (pulled, reports) = pull_with(&world, &name, &settings);
    assert_eq!(pulled.unwrap().image.reference, name);
    assert_eq!(origin.seen().len(), 0);
    let said = warnings(&reports);
    assert!(said.iter().any(|t| t.starts_with("mirror localhost:1 is passed over: no answer")), "{said:?}");
    assert!(mirror.seen().iter().all(|r| r.path().ends_with(&format!("?ns=127.0.0.1%3A{}", origin.port))));
    assert_eq!(
        world.store.inspect(&name).unwrap().repo_digests[0],
        format!("{}@{}", origin.reference("team/one"), pushed.digest)
    );

    // A mirror with something wrong in it: the registry has the last word.
    let file = other.blob_file(&pushed.blobs[0]);
    let length = fs::metadata(&file).unwrap().len();
    fs::write(&file, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let world = World::new();
    let (pulled, reports) = pull_with(&world, &name, &settings);
    pulled.unwrap();
    assert!(warnings(&reports).iter().any(|text| text.contains("has the digest")), "{reports:?}");
    assert_eq!(origin.asked(&pushed.blobs[0]), 1);

    let text = br#"{"registries":{"a.test":{"mirrors":["http://10.0.0.1:5000"]}}}"#;
    assert!(matches!(Registries::parse(text, ""), Err(Error::Registry(RegistryError::PlainHttp { .. }))));
}

#[test]
fn an_index_has_an_image_for_this_machine() {
    let Some(registry) = Registry::start("an_index_has_an_image_for_this_machine") else { return };
    let world = World::new();
    let push = |layer: Layer, architecture: &str| {
        let layers = [layer];
        let manifest = registry.push_parts("multi", &layers, image_config(&layers, architecture));
        let text = serde_json::to_vec(&manifest).unwrap();
        let digest = registry.push_manifest("multi", architecture, MANIFEST, &text);
        (digest, text.len())
    };
    let entry = |(digest, size): &(Digest, usize), os: &str, architecture: &str, variant: Option<&str>| {
        let mut platform = json!({"os": os, "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        json!({"mediaType": MANIFEST, "digest": digest.to_string(), "size": size, "platform": platform})
    };
    let push_index = |tag: &str, entries: Vec<Value>| {
        let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        registry.push_manifest("multi", tag, INDEX, text.as_bytes())
    };
    let (ours, foreign) = (push(top("ours"), support::architecture()), push(top("foreign"), "s390x"));
    let better = push(top("levels"), support::architecture());
    let index = push_index(
        "all",
        vec![
            entry(&foreign, "unknown", "unknown", None),
            entry(&foreign, "linux", "s390x", None),
            entry(&better, "linux", support::architecture(), Some("v99")),
            entry(&ours, "linux", support::architecture(), None),
            entry(&foreign, "windows", support::architecture(), None),
        ],
    );
    let name = registry.reference("multi:all");
    let pulled = pull(&world, &name).unwrap();
    assert_eq!(support::names(&pulled.image.layers[0]), ["ours"]);
    assert_eq!(pulled.digest, index);
    let repository = registry.reference("multi");
    assert_eq!(
        world.store.inspect(&name).unwrap().repo_digests,
        [format!("{repository}@{index}"), format!("{repository}@{}", ours.0)]
    );
    push_index(
        "foreign",
        vec![
            entry(&foreign, "unknown", "unknown", None),
            entry(&foreign, "linux", "s390x", None),
            entry(&foreign, "linux", "arm", Some("v7")),
        ],
    );
    let error = pull(&world, &registry.reference("multi:foreign")).unwrap_err();
    let expected = format!(
        "the image is for linux/s390x, linux/arm/v7, this machine is linux/{}",
        support::architecture()
    );
    assert!(chain(&error).ends_with(&expected), "{}", chain(&error));
    // The manifest itself may say so, too.
    let error = pull(&world, &registry.reference(&format!("multi@{}", foreign.0))).unwrap_err();
    assert!(chain(&error).contains("the image is for linux/s390x"), "{}", chain(&error));
}

#[test]
fn two_pulls_at_once_fetch_each_layer_once() {
    let test = "two_pulls_at_once_fetch_each_layer_once";
    let Some(registry) = Registry::start(test) else { return };
    let world = World::new();
    let shared: Vec<_> = (0..3).map(|n| Layer::noise(&format!("shared{n}"), 400_000)).collect();
    let with = |name: &str| [shared.clone(), vec![Layer::noise(name, 100_000)]].concat();
    let pushed = registry.push("one", "latest", &with("one"));
    registry.push("two", "latest", &with("two"));
    let front = Front::start(registry.port, |_| Action::Forward);
    let names = [front.reference("one"), front.reference("two")];
    let mut children: Vec<_> = (0..4)
        .map(|n| {
            let mut child = child(&world.path("store"), &names[n % 2]);
            child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    // And one that removes what it can all the while.
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        match world.store.prune(false) {
            Ok(_) | Err(Error::Busy { .. }) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    for name in &names {
        let image = world.store.get(name).unwrap();
        assert_eq!(image.layers.len(), 4);
        assert!(image.layers.iter().all(|layer| layer.is_dir()));
    }
    // Pulls that began when all was done ask for no blob; those that ran together share.
    let asked: Vec<_> = pushed.blobs.iter().map(|blob| front.asked(blob)).collect();
    assert_eq!(asked, [1; 4]);
    assert_eq!(world.in_store("blobs"), [""; 0]);
    assert_eq!(world.in_store("tmp"), [""; 0]);
    assert_eq!(world.in_store("layers").len(), 5);
}

#[test]
fn a_pull_killed_half_way_leaves_nothing_half_made() {
    let test = "a_pull_killed_half_way_leaves_nothing_half_made";
    let Some(registry) = Registry::start(test) else { return };
    let world = World::new();
    let layer = Layer::noise("big", 1_500_000);
    let pushed = registry.push("one", "latest", &[base(), layer.clone()]);
    let big = pushed.blobs[1].clone();
    let wanted = big.clone();
    let front = Front::start(registry.port, move |request| {
        if request.path().contains(wanted.hex()) { Action::Stall(900_000) } else { Action::Forward }
    });
    let mut child = child(&world.path("store"), &front.reference("one"));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let partial = world.path("store/blobs").join(big.hex());
    let end = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&partial).map_or(0, |m| m.len()) < 900_000 {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "it does not get that far");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(matches!(world.store.prune(false), Err(Error::Busy { .. })), "a pull is under way");
    child.kill().unwrap();
    child.wait().unwrap();
    // As the next command finds it.
    let store = Store::open(world.path("store")).unwrap();
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(world.in_store("tmp"), [""; 0]);
    assert_eq!(world.in_store("images"), [""; 0]);
    assert_eq!(fs::metadata(&partial).unwrap().len(), 900_000);
    let pulled = pull(&world, &registry.reference("one")).unwrap();
    let rest = layer.packed.len() as u64 - 900_000;
    // The small layer may have been complete.
    assert!((rest..=rest + base().packed.len() as u64).contains(&pulled.downloaded), "{}", pulled.downloaded);

    // Who does not want to go on prunes.
    fs::write(&partial, b"left over").unwrap();
    let pruned = store.prune(false).unwrap();
    assert_eq!((pruned.blobs, pruned.bytes, pruned.layers), (1, 9, 0));
    assert_eq!(world.in_store("blobs"), [""; 0]);
}

#[test]
fn prune_keeps_what_is_named_or_pinned() {
    let Some(registry) = Registry::start("prune_keeps_what_is_named_or_pinned") else { return };
    let world = World::new();
    registry.push("one", "latest", &[base(), top("a")]);
    registry.push("two", "latest", &[base(), top("b")]);
    let one = pull(&world, &registry.reference("one")).unwrap().image;
    let two = pull(&world, &registry.reference("two")).unwrap().image;
    assert_eq!(world.store.prune(false).unwrap(), image::Pruned::default());
    world.store.pin(&one.id, "container").unwrap();
    let pruned = world.store.prune(true).unwrap();
    assert_eq!(pruned.references, [two.reference]);
    assert_eq!((pruned.images, pruned.layers, pruned.bytes), (1, 1, 100_000));
    assert_eq!(world.store.get(&registry.reference("one")).unwrap(), one);
    world.store.unpin("container").unwrap();
    let pruned = world.store.prune(true).unwrap();
    assert_eq!((pruned.images, pruned.layers), (1, 2));
    assert_nothing(&world);
}

#[test]
fn certificates_are_checked() {
    let test = "certificates_are_checked";
    if !support::is_root(test) {
        return;
    }
    let world = World::new();
    let (ca, certificate, key) = match certificates(&world) {
        Some(made) => made,
        None => return support::skip(test, "the program openssl is not installed"),
    };
    let Some(secure) = Registry::start_with(test, &Setup { htpasswd: None, tls: Some((certificate, key)) })
    else {
        return;
    };
    let open = Registry::start(test).unwrap();
    open.push("one", "latest", &[base()]);
    secure.copy_storage_of(&open);
    let name = format!("localhost:{}/one", secure.port);
    let host = format!("localhost:{}", secure.port);
    let settings = |ca: Option<&Path>| {
        let mirror = format!("https://{host}");
        let mut text = json!({"registries": {"other.test": {"mirrors": [mirror]}, &host: {}}});
        if let Some(ca) = ca {
            text["registries"][&host]["ca"] = json!(ca);
        }
        registries(&text)
    };
    // As a mirror, since loopback itself is asked in plain HTTP.
    let reference = "other.test/one";
    let begun = Instant::now();
    let (result, reports) = pull_with(&world, reference, &settings(None));
    assert!(result.is_err());
    let said = warnings(&reports);
    assert!(said.iter().any(|text| text.contains("invalid peer certificate")), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "what is wrong with a certificate is not tried again");
    world.store.pull(reference, &settings(Some(&ca)), &|_| ()).unwrap();
    // In plain HTTP to a server that speaks TLS.
    let text = chain(&pull(&world, &name).unwrap_err());
    assert!(text.contains("400"), "{text}");
    let empty = world.write("empty.pem", b"");
    let text = warnings(&pull_with(&world, reference, &settings(Some(&empty))).1).join("\n");
    assert!(text.contains("has no certificate of an authority"), "{text}");
}

/// An authority and a certificate for `localhost` by it.
fn certificates(world: &World) -> Option<(std::path::PathBuf, std::path::PathBuf, std::path::PathBuf)> {
    let file = |name: &str| world.path(name);
    let openssl = |args: &[&str]| {
        let status = Command::new("openssl").args(args).current_dir(world.path("")).output();
        status.map(|output| assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)))
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&authority[..], &curve].concat()).ok()?;
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&request[..], &curve].concat()).ok()?;
    world.write("names", b"subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
    let sign = ["x509", "-req", "-days", "2", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key"];
    openssl(&[&sign[..], &["-CAcreateserial", "-extfile", "names", "-out", "server.pem"]].concat()).ok()?;
    Some((file("ca.pem"), file("server.pem"), file("server.key")))
}

/// This program again, to pull in a process of its own.
fn child(store: &Path, reference: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_process_that_pulls", "--ignored", "--nocapture"]);
    command.env("RHIZOME_TEST_STORE", store).env("RHIZOME_TEST_REFERENCE", reference);
    command
}

#[test]
#[ignore = "other tests start it as a process of its own"]
fn a_process_that_pulls() {
    let store = std::env::var_os("RHIZOME_TEST_STORE").expect("started by another test");
    let reference = std::env::var("RHIZOME_TEST_REFERENCE").unwrap();
    let config = std::env::var_os("RHIZOME_TEST_CONFIG");
    let config = config.map(|path| DockerConfig::read(Path::new(&path)).unwrap()).unwrap_or_default();
    let options = PullOptions { config, ..options() };
    let store = Store::open(store).unwrap();
    let result = store.pull(&reference, &options, &|progress| {
        if let Progress::Warning { text } = progress {
            println!("warning: {text}");
        }
    });
    if let Err(error) = result {
        println!("{}", chain(&error));
        std::process::exit(1);
    }
}
