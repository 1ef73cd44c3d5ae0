//! `rhizome run` up to the point where something would be created: reading, validating, planning.

mod support;

use support::{images, is_root, run, run_with_input};

const LABEL: &str = "\
apiVersion: v1
kind: Pod
metadata:
    name: mount-a
    namespace: default
    label:
      app: mount
spec:
    containers:
    - name: main
      image: busybox
      volumeMounts:
      - name: testmount
        mountPath: /home
        mountPropagation: None
    volumes:
    - name: testmount
      hostPath:
        path: /mnt/
";

/// A root with busybox in it, or why there is none.
fn root_with_busybox(name: &str) -> Option<(tempfile::TempDir, String)> {
    if !is_root(name) {
        return None;
    }
    let image = images(name)?.join("busybox.tar");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root").to_str().unwrap().to_owned();
    let imported = run(&["--root", &root, "image", "import", image.to_str().unwrap(), "--name", "busybox"]);
    assert_eq!((imported.status, imported.stderr.as_str()), (0, ""));
    assert_eq!(imported.stdout, "docker.io/library/busybox:latest\n");
    Some((directory, root))
}

#[test]
fn the_articles_label_is_refused_where_it_stands() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mount-a.yaml");
    std::fs::write(&file, LABEL).unwrap();
    let root = directory.path().join("root");
    let ran = run(&["--root", root.to_str().unwrap(), "run", file.to_str().unwrap()]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    let expected = format!(
        "error: strict decoding error: unknown field \"metadata.label\"\n  --> {}:6:5\n   |\n \
         6 |     label:\n   |     ^^^^^ did you mean \"labels\"?\n",
        file.display()
    );
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("error: 1 problem; nothing was created\n"), "{}", ran.stderr);
    assert!(!root.exists(), "not even the root");
}

#[test]
fn all_problems_of_all_files_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = ["a.yaml", "b.yaml"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    std::fs::write(&a, LABEL).unwrap();
    std::fs::write(&b, LABEL.replace("label:", "labels:").replace("None", "Bidirectionl")).unwrap();
    let ran = run_with_input(&["run", &a, &b, "-"], b"apiVersion: v1\nkind: Pood\nmetadata: {name: x}\n");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    for words in
        ["a.yaml:6:5", "b.yaml", "Bidirectionl", "\"Bidirectional\"", "STDIN", "Pood", "nothing was created"]
    {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
}

#[test]
fn files_that_cannot_be_read_are_errors() {
    let missing = run(&["run", "/no/such/file.yaml"]);
    assert_eq!(missing.status, 2);
    assert_eq!(missing.stderr, "error: the path \"/no/such/file.yaml\" does not exist\n");
    let directory = run(&["run", "/proc"]);
    assert_eq!((directory.status, directory.stderr.as_str()), (2, "error: reading /proc: Is a directory\n"));
    let empty = run_with_input(&["run", "-"], b"");
    assert_eq!(empty.status, 1, "{empty:?}");
    let huge = run_with_input(&["run", "-"], &vec![b' '; (16 << 20) + 1]);
    assert_eq!((huge.status, huge.stderr.as_str()), (2, "error: STDIN is larger than 16 MiB\n"));
}

#[test]
fn an_image_that_is_missing_is_named_before_anything_is_made() {
    let Some((_directory, root)) =
        root_with_busybox("an_image_that_is_missing_is_named_before_anything_is_made")
    else {
        return;
    };
    let manifest =
        LABEL.replace("label:", "labels:").replace("busybox", "no/such:1\n      imagePullPolicy: Never");
    let ran = run_with_input(&["--root", &root, "run", "-d", "-"], manifest.as_bytes());
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert_eq!(
        ran.stderr,
        "error: image no/such:1 is not here; nothing was created\n\
         hint: rhizome image pull no/such:1\n"
    );
}

#[test]
fn a_dry_run_prints_every_operation_and_makes_nothing() {
    let name = "a_dry_run_prints_every_operation_and_makes_nothing";
    let Some((directory, root)) = root_with_busybox(name) else { return };
    let source = directory.path().join("source");
    let there = source.join("there");
    std::fs::create_dir_all(&there).unwrap();
    let missing = source.join("missing");
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for path in [&there, &missing] {
        let path = path.to_str().unwrap();
        let manifest = LABEL.replace("label:", "labels:").replace("/mnt/", path);
        let ran = run_with_input(&["--root", &root, "run", "--dry-run", "-"], manifest.as_bytes());
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let row = format!("  /home                  testmount   None          writable   {path}\n");
        assert!(ran.stdout.contains(&row), "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("openat2(/, \"{path}\", RESOLVE_NO_SYMLINKS) = fd1\n")));
        assert!(ran.stdout.contains("unshare(CLONE_NEWNS)"));
        let json = ["--root", &root, "run", "--dry-run", "-o", "json", "-"];
        let json = run_with_input(&json, manifest.as_bytes()).stdout;
        let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
        let operations = plan["pods"][0]["containers"][0]["operations"].as_array().unwrap();
        assert!(ran.stdout.contains(&format!("\n  {} operations:\n", operations.len())));
        assert_eq!(operations[0]["Open"]["path"], path);
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    let lib: Vec<_> =
        std::fs::read_dir(format!("{root}/lib")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(lib, ["images"]);
}

/// It is the same answer as `plan --here` has.
#[test]
fn a_dry_run_of_what_would_not_start_is_a_no() {
    let name = "a_dry_run_of_what_would_not_start_is_a_no";
    let Some((directory, root)) = root_with_busybox(name) else { return };
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: main\n    image: busybox\n    \
         volumeMounts: [{{name: v, mountPath: /v, readOnly: true}}, {{name: w, mountPath: /v/inner}}]\n  \
         volumes: [{{name: v, hostPath: {{path: {}}}}}, {{name: w, emptyDir: {{}}}}]\n",
        source.display()
    );
    let asked = |args: &[&str]| {
        let args: Vec<&str> = ["--root", &root].iter().chain(args).copied().collect();
        run_with_input(&args, manifest.as_bytes())
    };
    for args in [["run", "--dry-run", "-"], ["plan", "--here", "-"]] {
        let ran = asked(&args);
        assert_eq!(ran.status, 1, "{args:?}: {ran:?}");
        assert!(ran.stdout.contains("pod p, container main\n"), "{}", ran.stdout);
        let told = ran.stdout.replace("\n    ", " ");
        assert!(told.contains("would not start: runtime: cannot mount at /v/inner: mkdir"), "{told}");
    }
    std::fs::create_dir(source.join("inner")).unwrap();
    assert_eq!(asked(&["run", "--dry-run", "-"]).status, 0);
}

#[test]
fn warn_drops_the_field_with_a_warning_and_ignore_without() {
    let name = "warn_drops_the_field_with_a_warning_and_ignore_without";
    let Some((_directory, root)) = root_with_busybox(name) else { return };
    let warned =
        run_with_input(&["--root", &root, "run", "--dry-run", "--validate=warn", "-"], LABEL.as_bytes());
    assert_eq!(warned.status, 0);
    assert!(warned.stderr.starts_with("warning: "), "{}", warned.stderr);
    assert!(warned.stderr.contains("\"metadata.label\""));
    let ignored =
        run_with_input(&["--root", &root, "run", "--dry-run", "--validate=ignore", "-"], LABEL.as_bytes());
    assert_eq!((ignored.status, ignored.stderr.as_str()), (0, ""));
    assert_eq!(warned.stdout, ignored.stdout);
}

#[test]
fn images_are_listed_and_removed() {
    let Some((_directory, root)) = root_with_busybox("images_are_listed_and_removed") else { return };
    let list = run(&["--root", &root, "image", "ls"]);
    assert!(
        list.stdout.starts_with("IMAGE                              IMAGE ID       SIZE\n"),
        "{}",
        list.stdout
    );
    let names = run(&["--root", &root, "image", "ls", "-o", "name"]);
    assert_eq!(names.stdout, "docker.io/library/busybox:latest\n");
    let removed = run(&["--root", &root, "image", "rm", "nothere", "busybox"]);
    assert_eq!((removed.status, removed.stdout.as_str()), (1, "docker.io/library/busybox:latest removed\n"));
    let expected = "error: image docker.io/library/nothere:latest is not in the store\n\
                    hint: rhizome image ls lists what is here\n";
    assert_eq!(removed.stderr, expected);
    let none = run(&["--root", &root, "image", "ls"]);
    assert_eq!((none.status, none.stdout.as_str()), (0, ""));
}
