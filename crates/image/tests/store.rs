//! The store over its life: what is shared, what stays, what goes, and that nothing is ever half there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::{Error, Image, ImageConfig, ImportOptions, Store};
use support::{Tar, World, chain, gzip};

fn base() -> Vec<u8> {
    Tar::new().dir("bin").file("bin/sh", b"shell").end()
}

fn top(name: &str) -> Vec<u8> {
    Tar::new().file(name, name.as_bytes()).end()
}

fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/bin".into(), "A=1".into()],
        entrypoint: vec!["/bin/sh".into()],
        cmd: vec!["-c".into(), "true".into()],
        working_dir: "/srv".into(),
        user: "7".into(),
        stop_signal: Some("SIGQUIT".into()),
        exposed_ports: vec!["80/tcp".into()],
        volumes: vec!["/data".into()],
        labels: BTreeMap::from([("a".into(), "b".into())]),
    }
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let world = World::new();
    let path = world.write("rootfs.tar", &base());
    let image = world.store.import(&path, "mine").unwrap();
    assert_eq!(image.reference, "docker.io/library/mine:latest");
    assert_eq!(image.config.env, [image::DEFAULT_PATH]);
    assert_eq!(image.size, 5);
    assert_eq!(fs::read(image.layers[0].join("bin/sh")).unwrap(), b"shell");
    for name in
        ["mine", "mine:latest", "docker.io/library/mine", &image.id.to_string(), &image.id.hex()[..12]]
    {
        assert_eq!(world.store.get(name).unwrap().layers, image.layers, "{name}");
    }
    // The same again, packed: the same layer, the same image.
    let path = world.write("rootfs.tgz", &gzip(&base()));
    assert_eq!(world.store.import(&path, "mine").unwrap(), image);

    let config =
        Some(ImageConfig { env: vec!["B=2".into()], cmd: vec!["sh".into()], ..ImageConfig::default() });
    let options = ImportOptions { config, ..ImportOptions::default() };
    let other = world.store.import_with(&path, "other", &options).unwrap();
    assert_eq!(other.config.cmd, ["sh"]);
    assert_eq!(other.config.env, [image::DEFAULT_PATH, "B=2"]);
    assert_ne!(other.id, image.id);
    assert_eq!(other.layers, image.layers);
}

#[test]
fn an_oci_archive_survives_the_way() {
    let world = World::new();
    let path = world.oci_archive("image.tar", &[base(), top("x"), base()], &config());
    let check = |image: &Image| {
        assert_eq!(image.config, config());
        assert_eq!(image.layers.len(), 2, "a layer that comes twice counts once, at the top");
        assert_eq!(support::names(&image.layers[0]), ["x"]);
        assert_eq!(support::names(&image.layers[1]), ["bin"]);
    };
    check(&world.store.import(&path, "a").unwrap());
    let packed = world.write("image.tar.gz", &gzip(&fs::read(&path).unwrap()));
    let second = World::new();
    check(&second.store.import(&packed, "a").unwrap());
    assert_eq!(second.in_store("tmp"), [""; 0]);

    // The same as a directory.
    let layout = world.path("layout");
    tar::Archive::new(fs::File::open(&path).unwrap()).unpack(&layout).unwrap();
    let third = World::new();
    check(&third.store.import(&layout, "a").unwrap());
    let error = third.store.import_with(
        &layout,
        "a",
        &ImportOptions { config: Some(ImageConfig::default()), ..ImportOptions::default() },
    );
    assert!(matches!(error, Err(Error::ConfigNotSettable { .. })));
    let error = third.store.import(&third.path("store"), "a").unwrap_err();
    assert!(chain(&error).contains("no index.json"), "{}", chain(&error));
}

/// `path` with the first occurrence of `from` replaced, within an archive whose sizes stay.
fn tampered(world: &World, path: &Path, from: &[u8], to: &[u8]) -> std::path::PathBuf {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    world.write("tampered.tar", &bytes)
}

#[test]
fn what_was_tampered_with_is_refused() {
    let world = World::new();
    let path = world.oci_archive("image.tar", &[base()], &config());
    for (from, to) in [
        (&b"shell"[..], &b"evil!"[..]),
        (b"\"A=1\"", b"\"A=2\""),
        (b"\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest", b"\"schemaVersion\":3"),
    ] {
        let error = world.store.import(&tampered(&world, &path, from, to), "a").unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{}", chain(&error));
        assert!(error.hint().is_some());
        assert_eq!((world.in_store("layers").len(), world.in_store("tmp").len()), (0, 0));
        assert!(matches!(world.store.get("a"), Err(Error::NotFound { .. })));
    }
    assert!(world.store.import(&path, "a").is_ok(), "untouched it is taken");
}

/// An OCI layout directory written by hand.
fn layout(world: &World, index: &str, blobs: &[&[u8]]) -> std::path::PathBuf {
    let dir = world.path("by-hand");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("index.json"), index).unwrap();
    for blob in blobs {
        fs::write(dir.join("blobs/sha256").join(image::Digest::of(blob).hex()), blob).unwrap();
    }
    dir
}

fn descriptor(media_type: &str, blob: &[u8], rest: &str) -> String {
    let digest = image::Digest::of(blob);
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{rest}}}"#, blob.len())
}

/// Config and manifest of an image with one gzip layer.
fn documents(arch: &str, layer: &[u8]) -> (String, Vec<u8>, String) {
    let packed = gzip(layer);
    let config = format!(
        r#"{{"architecture":"{arch}","os":"linux","config":{{"Env":null}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        image::Digest::of(layer)
    );
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes(), ""),
        descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed, "")
    );
    (config, packed, manifest)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn this_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn an_index_is_followed_to_this_machines_image() {
    let world = World::new();
    let (config, layer, manifest) = documents(this_arch(), &base());
    let platform = |arch| format!(r#","platform":{{"os":"linux","architecture":"{arch}"}}"#);
    let ours = descriptor(MANIFEST, manifest.as_bytes(), &platform(this_arch()));
    let theirs = descriptor(MANIFEST, b"{}", &platform("mips"));
    let attestation = descriptor(MANIFEST, b"[]", r#","platform":{"os":"unknown","architecture":"unknown"}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{theirs},{ours},{attestation}]}}"#);
    let outer = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        descriptor("application/vnd.oci.image.index.v1+json", index.as_bytes(), "")
    );
    let blobs = [config.as_bytes(), &layer, manifest.as_bytes(), index.as_bytes()];
    let image = world.store.import(&layout(&world, &outer, &blobs), "a").unwrap();
    assert_eq!(image.layers.len(), 1);

    let only_theirs = format!(r#"{{"schemaVersion":2,"manifests":[{theirs}]}}"#);
    let error = world.store.import(&layout(&world, &only_theirs, &[]), "a").unwrap_err();
    assert!(error.to_string().starts_with("the image is for linux/mips, this machine is linux/"), "{error}");
    let (config, layer, manifest) = documents("mips", &base());
    let index =
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(MANIFEST, manifest.as_bytes(), ""));
    let blobs = [config.as_bytes(), &layer, manifest.as_bytes()];
    let error = world.store.import(&layout(&world, &index, &blobs), "a").unwrap_err();
    assert!(matches!(error, Error::Platform { .. }), "{error}");
}

#[test]
fn one_of_several_images_is_chosen_by_name() {
    let world = World::new();
    let (config, layer, manifest) = documents(this_arch(), &base());
    let (config2, layer2, manifest2) = documents(this_arch(), &top("x"));
    let named = |manifest: &str, name: &str| {
        let rest = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        descriptor(MANIFEST, manifest.as_bytes(), &rest)
    };
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        named(&manifest, "v1"),
        named(&manifest2, "localhost/two:v2")
    );
    let blobs =
        [config.as_bytes(), &layer, manifest.as_bytes(), config2.as_bytes(), &layer2, manifest2.as_bytes()];
    let path = layout(&world, &index, &blobs);
    assert_eq!(support::names(&world.store.import(&path, "any:v1").unwrap().layers[0]), ["bin"]);
    assert_eq!(support::names(&world.store.import(&path, "localhost/two:v2").unwrap().layers[0]), ["x"]);
    let error = world.store.import(&path, "any:v3").unwrap_err();
    assert!(error.to_string().contains("(v1, localhost/two:v2)"), "{error}");
}

#[test]
fn documents_that_lie_are_errors() {
    let world = World::new();
    let (config, layer, manifest) = documents(this_arch(), &base());
    let index = |manifest: &str| {
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(MANIFEST, manifest.as_bytes(), ""))
    };
    let error = |world: &World, path: &Path| chain(&world.store.import(path, "a").unwrap_err());
    // A layer that is not there; a layer more than the config knows; a size that is wrong; another diff_id.
    let path = layout(&world, &index(&manifest), &[config.as_bytes(), manifest.as_bytes()]);
    assert!(error(&world, &path).contains("has no blobs/sha256/"), "{}", error(&world, &path));
    let more = manifest.replace("\"layers\":[", &format!("\"layers\":[{},", descriptor("x", &layer, "")));
    let path = layout(&world, &index(&more), &[config.as_bytes(), &layer, more.as_bytes()]);
    assert_eq!(error(&world, &path), "the manifest has 2 layers, the config 1");
    let size = format!("\"size\":{}}}]", layer.len());
    let wrong = manifest.replace(&size, "\"size\":999999}]");
    let path = layout(&world, &index(&wrong), &[config.as_bytes(), &layer, wrong.as_bytes()]);
    assert!(error(&world, &path).contains("where 999999 were promised"), "{}", error(&world, &path));
    let short = manifest.replace(&size, "\"size\":9}]");
    let path = layout(&world, &index(&short), &[config.as_bytes(), &layer, short.as_bytes()]);
    assert!(!error(&world, &path).is_empty());
    for (bad, message) in [
        ("{", "malformed index.json"),
        (r#"{"schemaVersion":2,"manifests":[]}"#, "names no manifest"),
        (
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../etc/passwd","size":1}]}"#,
            "invalid digest",
        ),
        (r#"{"schemaVersion":2,"manifests":[{"digest":"sha512:00","size":1}]}"#, "only sha256"),
    ] {
        let path = layout(&world, bad, &[]);
        assert!(error(&world, &path).contains(message), "{}", error(&world, &path));
    }
    assert_eq!((world.in_store("layers").len(), world.in_store("tmp").len()), (0, 0));
}

#[test]
fn a_docker_archive_with_its_links() {
    let id = image::Digest::of(b"any").hex().to_owned();
    let (config, _, _) = documents(this_arch(), &base());
    let manifest = format!(r#"[{{"Config":"c.json","RepoTags":["old:1"],"Layers":["{id}/layer.tar"]}}]"#);
    let archive = Tar::new()
        .file(&format!("{id}.json"), b"{}")
        .file("c.json", config.as_bytes())
        .dir("a")
        .file("a/layer.tar", &base())
        .symlink(&format!("{id}/layer.tar"), "../a/layer.tar")
        .file("manifest.json", manifest.as_bytes())
        .end();
    let world = World::new();
    let path = world.write("docker.tar", &archive);
    let image = world.store.import(&path, "old:1").unwrap();
    assert_eq!(support::names(&image.layers[0]), ["bin"]);

    let loops = Tar::new()
        .file("manifest.json", manifest.as_bytes())
        .file("c.json", config.as_bytes())
        .symlink(&format!("{id}/layer.tar"), "layer.tar")
        .end();
    let world = World::new();
    let path = world.write("docker.tar", &loops);
    assert!(matches!(world.store.import(&path, "old:1"), Err(Error::MissingBlob { .. })));
}

#[test]
fn layers_are_shared_and_go_with_their_last_image() {
    let world = World::new();
    let a = world.store.import(&world.oci_archive("a.tar", &[base(), top("a")], &config()), "a").unwrap();
    let b = world.store.import(&world.oci_archive("b.tar", &[base(), top("b")], &config()), "b").unwrap();
    assert_eq!(a.layers[0], b.layers[0]);
    assert_eq!(world.in_store("layers").len(), 3);
    assert_eq!(
        world.store.list().unwrap().iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(),
        ["docker.io/library/a:latest", "docker.io/library/b:latest"]
    );
    let removed = world.store.remove("a").unwrap();
    assert_eq!(removed.references, ["docker.io/library/a:latest"]);
    assert!(removed.remaining.is_empty() && removed.pinned_by.is_empty());
    assert!(matches!(world.store.get("a"), Err(Error::NotFound { .. })));
    assert!(matches!(world.store.remove("a"), Err(Error::NotFound { .. })));
    assert!(b.layers.iter().all(|layer| layer.is_dir()) && !a.layers[1].exists());
    assert_eq!(world.in_store("layers").len(), 2);
    world.store.remove(&b.id.to_string()).unwrap();
    for dir in ["layers", "images", "tmp", "pins"] {
        assert_eq!(world.in_store(dir), [""; 0], "{dir}");
    }
}

#[test]
fn a_name_that_moves_leaves_nothing_behind() {
    let world = World::new();
    let first = world.store.import(&world.write("1.tar", &base()), "a").unwrap();
    let second = world.store.import(&world.write("2.tar", &top("x")), "a").unwrap();
    assert!(!first.layers[0].exists());
    assert_eq!(world.store.get("a").unwrap(), second);
    assert_eq!(world.in_store("layers").len(), 1);
}

#[test]
fn what_is_pinned_stays() {
    let world = World::new();
    let image = world.store.import(&world.write("1.tar", &base()), "a").unwrap();
    world.store.pin(&image.id, "pod-1.main").unwrap();
    world.store.pin(&image.id, "pod-2.main").unwrap();
    let removed = world.store.remove("a").unwrap();
    assert_eq!(removed.pinned_by, ["pod-1.main", "pod-2.main"]);
    assert!(image.layers[0].is_dir());
    assert_eq!(
        world.store.get(&image.id.to_string()).unwrap().layers,
        image.layers,
        "a restart finds it by id"
    );
    // Another process, later.
    let again = Store::open(world.path("store")).unwrap();
    again.unpin("pod-1.main").unwrap();
    assert!(image.layers[0].is_dir());
    assert_eq!(again.pins().unwrap(), [("pod-2.main".to_owned(), image.id.clone())]);
    again.unpin("pod-2.main").unwrap();
    again.unpin("pod-2.main").unwrap();
    assert!(!image.layers[0].exists());
    assert!(matches!(again.pin(&image.id, "late"), Err(Error::NotFound { .. })));
    for owner in ["", "../x", "a/b", ".hidden", "a b"] {
        assert!(matches!(again.pin(&image.id, owner), Err(Error::Owner { .. })), "{owner}");
    }
}

#[test]
fn what_a_killed_import_left_is_removed() {
    let world = World::new();
    let tmp = world.path("store/tmp");
    fs::create_dir_all(tmp.join("half/fs/bin")).unwrap();
    fs::write(tmp.join("half/fs/bin/sh"), "ha").unwrap();
    fs::write(tmp.join("file"), "ha").unwrap();
    Store::open(world.path("store")).unwrap();
    assert_eq!(world.in_store("tmp"), [""; 0]);

    // But not while somebody imports.
    fs::create_dir_all(tmp.join("half/fs")).unwrap();
    let lock = fs::File::create(world.path("store/import.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let image_store = Store::open(world.path("store")).unwrap();
    assert_eq!(world.in_store("tmp"), ["half"]);
    // Nor does removing wait for it.
    assert!(matches!(image_store.remove("none"), Err(Error::NotFound { .. })));
}

#[test]
fn imports_at_once_do_not_harm_each_other() {
    let world = World::new();
    let images: Vec<_> = (0..4)
        .map(|n| world.oci_archive(&format!("{n}.tar"), &[base(), top(&format!("f{n}"))], &config()))
        .collect();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (dir, path) = (world.path("store"), &images[n % 4]);
            scope.spawn(move || {
                // A descriptor of its own each, as processes have.
                let store = Store::open(dir).unwrap();
                let image = store.import(path, &format!("image{}", n % 4)).unwrap();
                store.pin(&image.id, &format!("owner{n}")).unwrap();
                store.unpin(&format!("owner{n}")).unwrap();
            });
        }
    });
    let list = world.store.list().unwrap();
    assert_eq!(list.len(), 4);
    for (n, image) in list.iter().enumerate() {
        assert_eq!(support::names(&image.layers[1]), [format!("f{n}")]);
    }
    assert_eq!(world.in_store("layers").len(), 5);
    assert_eq!(world.in_store("tmp"), [""; 0]);
}

#[test]
fn damage_in_the_store_is_told() {
    let world = World::new();
    let image = world.store.import(&world.write("1.tar", &base()), "a").unwrap();
    let layer = image.layers[0].parent().unwrap().to_owned();
    fs::rename(&layer, world.path("away")).unwrap();
    assert!(matches!(world.store.get("a"), Err(Error::MissingLayer { .. })));
    // A new import mends it.
    assert_eq!(world.store.import(&world.path("1.tar"), "a").unwrap(), image);
    fs::write(world.path("store/references.json"), "{").unwrap();
    assert!(matches!(Store::open(world.path("store")), Err(Error::Document { .. })));
    fs::write(world.path("store/references.json"), r#"{"version":2,"references":{}}"#).unwrap();
    assert!(matches!(Store::open(world.path("store")), Err(Error::Version { found: 2, .. })));
}

#[test]
fn bad_names_and_missing_files_are_errors() {
    let world = World::new();
    let path = world.write("1.tar", &base());
    assert!(matches!(world.store.import(&path, "Not A Name"), Err(Error::Reference { .. })));
    let error = world.store.import(&world.path("missing"), "a").unwrap_err();
    assert!(chain(&error).contains("missing: No such file"), "{}", chain(&error));
    assert!(matches!(world.store.get("sha256:zz"), Err(Error::BadDigest { .. })));
    assert!(matches!(world.store.get("0123456789ab"), Err(Error::NotFound { .. })));
    assert!(
        matches!(world.store.get("nginx"), Err(Error::NotFound { reference }) if reference == "docker.io/library/nginx:latest")
    );
}

#[test]
fn imports_run_side_by_side() {
    let world = World::new();
    let archives: Vec<_> = (0..3)
        .map(|n| world.oci_archive(&format!("{n}.tar"), &[base(), top(&format!("{n}"))], &config()))
        .collect();
    std::thread::scope(|scope| {
        for turn in 0..9 {
            let (archive, world) = (&archives[turn % 3], &world);
            scope.spawn(move || {
                let store = Store::open(world.path("store")).unwrap();
                store.import(archive, &format!("image{turn}")).unwrap();
            });
        }
    });
    let images = world.store.list().unwrap();
    assert_eq!(images.len(), 9);
    assert!(images.iter().all(|image| image.layers.iter().all(|layer| layer.is_dir())));
    assert_eq!(world.in_store("layers").len(), 4);
    assert_eq!(world.in_store("tmp"), [""; 0]);
}
