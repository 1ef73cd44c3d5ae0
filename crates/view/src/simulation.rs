//! What a script of mount commands does: for reading, and as the document `Simulation`.

use crate::table::table;
use crate::text::{Paint, printable};
use explain::simulate::{Call, Event, Fault, Outcome, Step, rows};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use subtree_model::RuleId;

/// Each line with its calls and their effects, then the tables of all namespaces.
pub fn simulation(outcome: &Outcome, paint: Paint) -> String {
    let mut text = String::new();
    for step in &outcome.steps {
        write_step(&mut text, step, paint);
    }
    for (name, rows) in rows(&outcome.namespaces) {
        let _ = writeln!(text, "{}", paint.strong(&format!("namespace {}", printable(&name))));
        let cells: Vec<[String; 4]> = rows
            .into_iter()
            .map(|row| {
                let groups = row.propagation;
                let named =
                    [("shared", groups.shared), ("master", groups.master), ("from", groups.propagate_from)];
                let mut words: Vec<String> = named
                    .into_iter()
                    .filter_map(|(word, group)| group.map(|group| format!("{word}:{}", group.0)))
                    .collect();
                if groups.unbindable || words.is_empty() {
                    words.push(if groups.unbindable { "unbindable" } else { "private" }.to_owned());
                }
                [row.path.display().to_string(), row.filesystem, row.root, words.join(" ")]
            })
            .collect();
        let table = table(Some(["PATH", "FILE SYSTEM", "ROOT", "PROPAGATION"]), &cells);
        table.lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

pub(crate) fn write_step(text: &mut String, step: &Step, paint: Paint) {
    let _ = writeln!(
        text,
        "{} {}",
        paint.dim(&format!("{:>3}", step.line)),
        paint.strong(&printable(&step.text))
    );
    let several = step.calls.len() > 1;
    for call in &step.calls {
        if several {
            let _ = writeln!(text, "      {}", paint.dim(&printable(&call.text)));
        }
        let told: Vec<&Event> = call.events.iter().filter(|event| event.rule != RuleId::FileMade).collect();
        let place = |event: &Event| match (&event.namespace, &event.path) {
            (Some(namespace), Some(path)) => format!("{namespace}:{}", path.display()),
            _ => String::new(),
        };
        let cells: Vec<[String; 3]> = told
            .iter()
            .map(|event| [place(event), event.text.clone(), format!("[{}]", event.rule.id())])
            .collect();
        table(None, &cells).lines().for_each(|line| {
            let _ = writeln!(text, "      {line}");
        });
        for what in &call.unknown {
            let _ = writeln!(text, "      {} {what}", paint.warn("unknown:"));
        }
    }
    if let Some(fault) = &step.fault {
        let rule = fault.rule.map_or(String::new(), |rule| format!(" [{}]", rule.id()));
        let _ = writeln!(text, "      {} {}{rule}", paint.bad(&fault.errno), printable(&fault.reason));
    }
    text.push('\n');
}

/// The document: its fields are an interface, in this order.
pub fn document(outcome: &Outcome) -> Value {
    let mut namespaces = Map::new();
    for (name, rows) in rows(&outcome.namespaces) {
        let rows = rows.into_iter().map(|row| {
            let groups = row.propagation;
            json!({
                "path": row.path.to_string_lossy(),
                "filesystem": row.filesystem,
                "root": row.root,
                "shared": groups.shared,
                "master": groups.master,
                "propagateFrom": groups.propagate_from,
                "unbindable": groups.unbindable,
            })
        });
        namespaces.insert(name, rows.collect());
    }
    json!({
        "apiVersion": "rhizome.dev/v1",
        "kind": "Simulation",
        "steps": outcome.steps.iter().map(step).collect::<Vec<_>>(),
        "namespaces": namespaces,
    })
}

pub(crate) fn step(step: &Step) -> Value {
    let fault = step.fault.as_ref();
    json!({
        "line": step.line,
        "command": step.text,
        "errno": fault.map(|fault| &fault.errno),
        "rule": rule(fault),
        "reason": fault.map(|fault| &fault.reason),
        "namespace": step.namespace,
        "calls": step.calls.iter().map(call).collect::<Vec<_>>(),
    })
}

fn rule(fault: Option<&Fault>) -> Option<&'static str> {
    fault.and_then(|fault| fault.rule).map(RuleId::id)
}

fn call(call: &Call) -> Value {
    let effect = |event: &Event| {
        json!({
            "rule": event.rule.id(),
            "namespace": event.namespace,
            "path": event.path.as_ref().map(|path| path.to_string_lossy()),
            "what": event.text,
        })
    };
    json!({
        "call": call.text,
        "errno": call.fault.as_ref().map(|fault| &fault.errno),
        "effects": call.events.iter().map(effect).collect::<Vec<_>>(),
        "unknown": call.unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use explain::simulate::{Script, simulate};

    fn sample() -> Outcome {
        let script = "mkdir /a\nmount -t tmpfs none /a\nmount --make-shared /a\nns c\n@c mount --make-slave /a\n\
                      mkdir /a/x\nmount --bind -o ro /a /a/x\numount /a";
        simulate(&Script::parse(script).unwrap())
    }

    #[test]
    fn for_reading() {
        expect![[r#"
              1 mkdir /a

              2 mount -t tmpfs none /a
                  host:/a   mounted, on top, private   [attach-on-top]

              3 mount --make-shared /a
                  host:/a   private becomes shared   [make-shared-new-group]

              4 ns c
                  c:/    a copy of /, private   [namespace-copy]
                  c:/a   a copy of /a, shared   [namespace-copy]

              5 @c mount --make-slave /a
                  c:/a   shared becomes slave   [make-slave-of-peer]

              6 mkdir /a/x

              7 mount --bind -o ro /a /a/x
                  mount("/a", "/a/x", MS_BIND)
                  host:/a/x   a copy of /a, shared      [copy-peer]
                  host:/a/x   mounted, on top, shared   [attach-on-top]
                  c:/a/x      mounted, on top, slave    [receive-slave]
                  mount("/a/x", MS_REMOUNT|MS_BIND|MS_RDONLY)
                  host:/a/x   now ro,relatime   [set-attributes]

              8 umount /a
                  EBUSY something is mounted in it [unmount-has-children]

            namespace host
              PATH   FILE SYSTEM   ROOT   PROPAGATION
              /      rootfs        /      private
              /a     tmpfs-1       /      shared:1
              /a/x   tmpfs-1       /      shared:1

            namespace c
              PATH   FILE SYSTEM   ROOT   PROPAGATION
              /      rootfs        /      private
              /a     tmpfs-1       /      master:1
              /a/x   tmpfs-1       /      master:1
        "#]]
        .assert_eq(&simulation(&sample(), Paint::NONE));
    }

    #[test]
    fn the_document_has_the_fields_of_the_interface() {
        let document = document(&sample());
        assert_eq!(document["apiVersion"], "rhizome.dev/v1");
        assert_eq!(document["kind"], "Simulation");
        let steps = document["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 8);
        assert_eq!((&steps[3]["line"], &steps[3]["command"]), (&json!(4), &json!("ns c")));
        assert_eq!((&steps[6]["errno"], &steps[7]["errno"]), (&Value::Null, &json!("EBUSY")));
        let row = |path, filesystem: &str, shared: Option<u32>, master: Option<u32>| {
            json!({"path": path, "filesystem": filesystem, "root": "/", "shared": shared, "master": master,
                   "propagateFrom": null, "unbindable": false})
        };
        let expected = json!({
            "host": [row("/", "rootfs", None, None), row("/a", "tmpfs-1", Some(1), None),
                     row("/a/x", "tmpfs-1", Some(1), None)],
            "c": [row("/", "rootfs", None, None), row("/a", "tmpfs-1", None, Some(1)),
                  row("/a/x", "tmpfs-1", None, Some(1))],
        });
        assert_eq!(document["namespaces"], expected);
        let names: Vec<&String> = document["namespaces"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["host", "c"], "in the order in which they were made");
    }
}
