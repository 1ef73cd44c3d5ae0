//! `exec -it` and `attach` on a real terminal: size, keys, leaving.

#[path = "support/pty.rs"]
mod pty;
mod support;
#[path = "support/world.rs"]
mod world;

use pty::Terminal;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};
use world::World;

/// A Pod of one container that runs a shell script, with these fields too.
fn pod(name: &str, script: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - {{name: main, image: busybox, {fields}, command: \
         [sh, -c, {script:?}]}}\n"
    )
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_P_CTRL_Q: &str = "\x10\x11";

#[test]
fn exec_is_on_our_terminal() {
    let Some(world) = World::isolated("exec_is_on_our_terminal") else { return };
    world.start(&pod("a", "sleep 1000", "tty: false"));
    let command = world.command(&["exec", "-it", "a", "--", "sh"]);
    let mut terminal = Terminal::start(&command, 33, 77);
    terminal.type_at_prompt("tty; stty size\n");
    terminal.wait_for("/dev/pts/0\r\n33 77\r\n");
    // In a shell of its own: an interactive one loses a Ctrl-C that meets it just as it makes a child.
    terminal.type_at_prompt("sh -c 'while :; do stty size; sleep 0.05; done'\n");
    terminal.wait_for("33 77\r\n");
    terminal.resize(44, 133);
    terminal.wait_for("44 133\r\n");
    // Ctrl-C reaches what runs there, and not us.
    terminal.type_keys(CTRL_C);
    terminal.type_at_prompt("sh -c \"echo be''gun; exec sleep 1000\"\n");
    terminal.wait_for("begun\r\n");
    terminal.type_keys(CTRL_C);
    terminal.type_at_prompt("echo sta''tus=$?\n");
    terminal.wait_for("status=130\r\n");
    // Ctrl-D ends a program's input, then the shell's.
    terminal.type_at_prompt("echo re''ady; cat; echo en''ded\n");
    terminal.wait_for("ready\r\n");
    terminal.type_keys("line\n");
    terminal.wait_for("line\r\nline\r\n");
    terminal.type_keys(CTRL_D);
    terminal.wait_for("ended\r\n");
    terminal.type_at_prompt("(exit 7)\n");
    terminal.wait_for("(exit 7)\r\n");
    terminal.type_at_prompt(CTRL_D);
    assert_eq!(terminal.end().0, 7);
}

#[test]
fn a_shell_of_exec_is_left_and_goes_on() {
    let Some(world) = World::isolated("a_shell_of_exec_is_left_and_goes_on") else { return };
    world.start(&pod("a", "sleep 1000", "tty: false"));
    let mut terminal = Terminal::start(&world.command(&["exec", "-it", "a", "--", "sh"]), 24, 80);
    terminal.type_at_prompt("echo on=$((1+1))\n");
    terminal.wait_for("on=2\r\n");
    terminal.type_at_prompt(
        "i=0; while [ ! -e /go ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo over > /out\n",
    );
    terminal.wait_for("20\r\n");
    terminal.type_keys(CTRL_P_CTRL_Q);
    let (status, rest) = terminal.end();
    assert!(rest.contains("note: ") && rest.contains("detached; the command goes on"), "{rest}");
    assert_eq!(status, 0);
    // It writes on, to a terminal that nobody looks at.
    std::thread::sleep(Duration::from_millis(500));
    let run = |script: &str| world.run(&["exec", "a", "--", "sh", "-c", script]);
    assert_eq!(run(": > /go").status, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while run("cat /out").stdout != "over\n" {
        assert!(Instant::now() < deadline, "the shell has ended");
    }
    // Other keys, and none.
    let other = world.command(&[
        "exec",
        "-it",
        "--detach-keys",
        "ctrl-x,x",
        "a",
        "--",
        "sh",
        "-c",
        "echo ready; exec cat",
    ]);
    let mut terminal = Terminal::start(&other, 24, 80);
    terminal.wait_for("ready\r\n");
    terminal.type_keys("\x10\x11a\n");
    terminal.wait_for("a\r\n");
    terminal.type_keys("\x18x");
    assert_eq!(terminal.end().0, 0);
    let mut terminal = Terminal::start(
        &world.command(&["exec", "-it", "--detach-keys=", "a", "--", "sh", "-c", "echo ready; exec cat"]),
        24,
        80,
    );
    terminal.wait_for("ready\r\n");
    terminal.type_keys("\x10\x11b\n");
    terminal.wait_for("b\r\n");
    terminal.type_keys(CTRL_D);
    assert_eq!(terminal.end().0, 0);
    let wrong = world.run(&["exec", "-it", "--detach-keys", "ctrl-1", "a", "--", "sh"]);
    assert_eq!(wrong.status, 2, "{wrong:?}");
    world.remember_pods();
    assert_eq!(world.run(&["rm", "-f", "a"]).status, 0);
    world.assert_nothing_left();
}

#[test]
fn attach_is_on_the_containers_terminal() {
    let Some(world) = World::isolated("attach_is_on_the_containers_terminal") else { return };
    world.start(&pod("a", "printf 'prompt> '; exec sh", "stdin: true, tty: true"));
    let attach = || Terminal::start(&world.command(&["attach", "-it", "a"]), 33, 77);
    let mut first = attach();
    first.wait_for("If you don't see a command prompt, try pressing enter.\r\n");
    first.type_keys("x=kept; stty size\n");
    first.wait_for("33 77\r\n");
    first.resize(12, 34);
    first.type_keys("\n");
    first.type_keys("stty size\n");
    first.wait_for("12 34\r\n");
    first.type_keys(CTRL_P_CTRL_Q);
    let (status, rest) = first.end();
    assert!(status == 0 && rest.contains("detached; the container goes on"), "{rest}");
    // The same shell, later.
    let mut second = attach();
    second.wait_for("pressing enter.\r\n");
    second.type_keys("sh -c \"echo x=$x; exec sleep 1000\"\n");
    second.wait_for("x=kept\r\n");
    second.type_keys(CTRL_C);
    second.wait_for("/ # ");
    second.type_keys("echo sta''tus=$?; exit 9\n");
    second.wait_for("status=130\r\n");
    assert_eq!(second.end().0, 9);
    let ended = world.run(&["attach", "a"]);
    assert_eq!(ended.stderr, "error: container \"main\" in pod \"a\" is not running\n");
    assert_eq!(ended.status, 1);
}

#[test]
fn attach_passes_streams_on() {
    let Some(world) = World::isolated("attach_passes_streams_on") else { return };
    let script =
        "echo before; read line; echo got $line; echo err >&2; read line; echo then $line; cat; exit 4";
    world.start(&pod("once", script, "stdin: true, stdinOnce: true"));
    world.start(&pod("many", script, "stdin: true"));
    world.start(&pod("none", "sleep 1000", "tty: false"));
    // The input ends with ours where the manifest says once.
    let once = world.run_with_input(&["attach", "-i", "once"], b"one\ntwo\nthree\n");
    assert_eq!(once.stdout, "got one\nthen two\nthree\n", "{once:?}");
    assert_eq!((once.status, once.stderr.as_str()), (4, "err\n"));
    // Else it goes on, and what is shown is what is written from now on.
    let mut first = world.command(&["attach", "-i", "many"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines().map(Result::unwrap);
    first.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    assert_eq!(lines.next().as_deref(), Some("got one"));
    drop(first.stdin.take());
    let mut second = world.command(&["attach", "-i", "many"]);
    let mut second =
        second.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    second.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    assert_eq!(lines.next().as_deref(), Some("then two"));
    let mut seen = [0; 9];
    second.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"then two\n");
    // Whoever is attached learns of the end.
    assert_eq!(world.run(&["stop", "many"]).status, 0);
    assert_eq!(lines.next(), None);
    assert_eq!((first.wait().unwrap().code(), second.wait().unwrap().code()), (Some(137), Some(137)));
    let none = world.run_with_input(&["attach", "-i", "none"], b"x\n");
    assert_eq!((none.status, none.stdout.as_str()), (1, ""));
    assert!(none.stderr.contains("container \"main\" has no standard input"), "{none:?}");
    let missing = world.run(&["attach", "nosuch"]);
    assert_eq!((missing.status, missing.stderr.as_str()), (1, "error: pods \"nosuch\" not found\n"));
}

#[test]
fn a_reset_asks() {
    let Some(world) = World::isolated("a_reset_asks") else { return };
    world.start(&pod("a", "sleep 1000", "tty: false"));
    world.remember_pods();
    let reset = world.command(&["system", "reset"]);
    for (answer, status) in [("no\n", 1), ("\n", 1), ("yes\n", 0)] {
        let mut terminal = Terminal::start(&reset, 24, 200);
        let asked = terminal.wait_for("Type yes to go on:\r\n");
        assert!(
            asked.contains("pods: default/a\r\n") && asked.contains("images: docker.io/library/busybox"),
            "{asked}"
        );
        terminal.type_keys(answer);
        assert_eq!(terminal.end().0, status, "{answer:?}");
        assert_eq!(world.root().join("lib").exists(), status == 1);
    }
    world.assert_nothing_left();
}
