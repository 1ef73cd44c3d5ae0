//! `rhizome image pull`, `inspect` and `prune`, against a registry that is one thread of this test.

mod support;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use image::Digest;
use serde_json::{Value, json};
use support::{Ran, is_root, run};

/// Answers with these documents at these paths, and 404 elsewhere; to `alice:pw` only if `closed`. Ends with the test's
/// process.
fn registry(documents: HashMap<String, Vec<u8>>, closed: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut lines = BufReader::new(&client).lines().map_while(Result::ok);
            let start = lines.next().unwrap_or_default();
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // `printf alice:pw | base64`
            if closed && !head.iter().any(|line| line.ends_with(" Basic YWxpY2U6cHc=")) {
                let head = "HTTP/1.1 401 X\r\nConnection: close\r\nWWW-Authenticate: Basic realm=x\r\n";
                let _ = client.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes());
                continue;
            }
            let path = start.split([' ', '?']).nth(1).unwrap_or_default();
            let (status, body) = documents.get(path).map_or((404, &b""[..]), |body| (200, body));
            let head =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body));
        }
    });
    port
}

/// A registry with `tool:1`: one layer with one file.
fn registry_with_tool() -> u16 {
    tool_registry(false)
}

fn tool_registry(closed: bool) -> u16 {
    let mut layer = Vec::new();
    let mut header = vec![0_u8; 512];
    header[..4].copy_from_slice(b"file");
    for (at, field) in
        [(100, "0000644"), (108, "0000000"), (116, "0000000"), (124, "00000000005"), (136, "00000000000")]
    {
        header[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    header[156] = b'0';
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    layer.extend_from_slice(&header);
    layer.extend_from_slice(b"hello");
    layer.resize(2048, 0);
    let config = json!({
        "config": {"Cmd": ["/file"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config).to_string(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": Digest::of(&layer).to_string(),
            "size": layer.len(),
        }],
    });
    let blob = |bytes: &[u8]| format!("/v2/tool/blobs/{}", Digest::of(bytes));
    let documents = HashMap::from([
        ("/v2/tool/manifests/1".to_owned(), manifest.to_string().into_bytes()),
        (blob(&config), config),
        (blob(&layer), layer),
    ]);
    registry(documents, closed)
}

#[test]
fn an_image_is_pulled_inspected_and_pruned() {
    if !is_root("an_image_is_pulled_inspected_and_pruned") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap().to_owned();
    let rhizome = |args: &[&str]| -> Ran { run(&[&["--root", &root, "image"], args].concat()) };
    let port = registry_with_tool();
    let name = format!("127.0.0.1:{port}/tool:1");
    let pulled = rhizome(&["pull", &name]);
    assert_eq!((pulled.status, pulled.stdout), (0, format!("{name}\n")), "{}", pulled.stderr);
    assert!(pulled.stderr.starts_with(&format!("{name} is sha256:")), "{}", pulled.stderr);
    let quiet = rhizome(&["pull", "--quiet", &name]);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (0, ""));

    let shown = rhizome(&["inspect", &name]);
    let image: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&image["kind"], &image["size"]), (&json!("Image"), &json!(5)));
    assert_eq!(image["references"], json!([name]));
    assert!(image["repoDigests"][0].as_str().unwrap().starts_with(&format!("127.0.0.1:{port}/tool@sha256:")));
    assert_eq!(image["layers"][0]["packed"]["size"], 2048);
    let path = image["layers"][0]["path"].as_str().unwrap();
    assert_eq!(std::fs::read(format!("{path}/file")).unwrap(), b"hello");

    let pruned = rhizome(&["prune"]);
    assert_eq!(pruned.stdout, "0 images, 0 layers and 0 broken downloads removed: 0 B\n");
    let pruned = rhizome(&["prune", "--all"]);
    let expected = format!("{name} removed\n1 image, 1 layer and 0 broken downloads removed: 5 B\n");
    assert_eq!((pruned.status, pruned.stdout), (0, expected));
    assert_eq!(rhizome(&["inspect", &name]).status, 1);
}

#[test]
fn a_terminal_shows_what_comes() {
    if !is_root("a_terminal_shows_what_comes") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let name = format!("127.0.0.1:{}/tool:1", registry_with_tool());
    let terminal =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&terminal).unwrap();
    let end = rustix::pty::ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = std::fs::File::options().read(true).write(true).open(end).unwrap();
    let mut command = support::rhizome(&["--root", root, "image", "pull", &name]);
    let output = command.stderr(end).output().unwrap();
    drop(command);
    assert!(output.status.success());
    // All ends but ours are closed: what was written can be read, then it fails.
    let (mut shown, mut terminal) = (Vec::new(), std::fs::File::from(terminal));
    let _ = std::io::Read::read_to_end(&mut terminal, &mut shown);
    let shown = String::from_utf8(shown).unwrap();
    // The last picture, below what erased the one before.
    let (_, last) = shown.rsplit_once("\x1b[J").unwrap_or(("", &shown));
    // A pull that takes a second says how fast it was.
    assert!(last.contains("  done, 2.0 KiB\r\n1 of 1 layers, 2.0 KiB"), "{shown:?}");
    assert!(last.contains(&format!("{name} is sha256:")), "{shown:?}");
}

#[test]
fn what_is_not_in_the_registry_is_a_no_and_others_are_still_pulled() {
    if !is_root("what_is_not_in_the_registry_is_a_no_and_others_are_still_pulled") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let port = registry_with_tool();
    let (missing, there) = (format!("127.0.0.1:{port}/nosuch:1"), format!("127.0.0.1:{port}/tool:1"));
    let ran = run(&["--root", root, "image", "pull", &missing, &there]);
    assert_eq!((ran.status, ran.stdout), (1, format!("{there}\n")));
    let expected = format!(
        "error: failed to pull and unpack image \"{missing}\": failed to resolve image: {missing}: not found\n\
         hint: check the name and the tag\n"
    );
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    let ran = run(&["--root", root, "image", "pull", "localhost:1/x"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("no answer from http://localhost:1/v2/x/manifests/latest"), "{}", ran.stderr);
}

#[test]
fn a_roots_own_settings_come_before_the_machines() {
    if !is_root("a_roots_own_settings_come_before_the_machines") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let port = registry_with_tool();
    let settings = directory.path().join("lib/registries.json");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let text = json!({"registries": {"reg.example.test": {"mirrors": [format!("127.0.0.1:{port}")]}}});
    std::fs::write(&settings, text.to_string()).unwrap();
    let ran = run(&["--root", root, "image", "pull", "reg.example.test/tool:1"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "reg.example.test/tool:1\n"), "{}", ran.stderr);
    std::fs::write(&settings, r#"{"registries": {"reg.example.test": {"mirror": []}}}"#).unwrap();
    let ran = run(&["--root", root, "image", "pull", "reg.example.test/tool:1"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("unknown field `mirror`"), "{}", ran.stderr);
}

fn pod(image: &str, policy: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: tool}}\nspec:\n  restartPolicy: Never\n  imagePullSecrets: [{{name: \
         key}}]\n  containers:\n  - {{name: main, image: {image:?}, imagePullPolicy: {policy}}}\n"
    )
}

#[test]
fn run_pulls_what_the_policy_says_with_the_pods_secrets() {
    if !is_root("run_pulls_what_the_policy_says_with_the_pods_secrets") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let name = format!("127.0.0.1:{}/tool:1", tool_registry(true));
    let create =
        |manifest: &str| support::run_with_input(&["--root", root, "run", "-d", "-"], manifest.as_bytes());
    let here = || run(&["--root", root, "image", "ls", "-o", "name"]).stdout;

    let never = create(&pod(&name, "Never"));
    assert_eq!(never.status, 1);
    assert!(
        never.stderr.contains(&format!("error: image {name} is not here; nothing was created")),
        "{never:?}"
    );

    let refused = create(&pod(&name, "IfNotPresent"));
    assert_eq!(refused.status, 2, "{refused:?}");
    for text in [
        &format!("Pulling image \"{name}\"\n"),
        "warning: Unable to retrieve some image pull secrets (key); attempting to pull the image may not succeed.\n",
        "error: nothing was created: failed to pull and unpack image",
        "pull access denied for tool",
    ] {
        assert!(refused.stderr.contains(text), "{text}: {}", refused.stderr);
    }
    assert_eq!(here(), "");
    assert_eq!(run(&["--root", root, "ps", "-a", "-o", "name"]).stdout, "");

    let (host, _) = name.split_once('/').unwrap();
    let key = json!({"auths": {host: {"username": "alice", "password": "pw"}}}).to_string();
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  \
         .dockerconfigjson: '{key}'\n"
    );
    // There is nothing in it that could run; but it comes.
    let ran = create(&format!("{}{secret}", pod(&name, "Always")));
    assert!(ran.stderr.contains(&format!("Pulling image \"{name}\"")), "{ran:?}");
    assert_eq!(here(), format!("{name}\n"), "{ran:?}");
    run(&["--root", root, "rm", "-fa"]);
    let again = create(&pod(&name, "IfNotPresent"));
    assert!(!again.stderr.contains("Pulling"), "{again:?}");
    run(&["--root", root, "rm", "-fa"]);
}
