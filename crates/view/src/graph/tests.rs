//! What every picture must keep.

use super::*;
use crate::text::Paint;
use expect_test::expect;
use explain::graph::of_tables;
use explain::simulate::{PICTURES_MAX, Script, Simulation, simulate};

fn graph(script: &str) -> Graph {
    of_tables(&simulate(&Script::parse(script).unwrap()).namespaces)
}

/// The article's three experiments in one.
const ARTICLE: &str = "mkdir -p /mnt/x\nmount --bind /mnt /mnt\nmount --make-shared /mnt\n\
    ns none\n@none mount --make-private /mnt\nns slave\n@slave mount --make-slave /mnt\nns both\n";

#[test]
fn for_a_terminal() {
    expect![[r#"
        host:/mnt  shared, rootfs rootfs
        ├─<-> both:/mnt  shared
        ├─--> slave:/mnt  slave
        └─-x- none:/mnt  private

        <->  one peer group, both ways     -->  a slave, receives only     -x-  a private copy, receives nothing
    "#]]
    .assert_eq(&text(&graph(ARTICLE), Paint::NONE));
}

#[test]
fn hostile_names_stay_text() {
    let mut graph = graph(ARTICLE);
    let evil = "</script><script>alert(1)</script>\"'&\u{202e}\x1b[2J\n";
    graph.spaces[1].name = evil.to_owned();
    graph.spaces[1].alike = vec![evil.to_owned()];
    graph.spaces[1].mounts[0].path = evil.to_owned();
    graph.spaces[1].mounts[0].file_system = evil.to_owned();
    let picture = svg(&graph, evil);
    assert!(!picture.contains("<script") && !picture.contains('\x1b') && !picture.contains('\u{202e}'));
    let page = html(&graph, evil);
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</script").count(), 1);
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    let terminal = text(&graph, Paint::NONE);
    assert!(!terminal.contains('\x1b'));
}

#[test]
fn boxes_do_not_touch_and_lines_end_at_boxes() {
    let graph = graph(&format!(
        "{ARTICLE}ns deep from slave\n@slave mount --make-shared /mnt\nns deeper from slave\n"
    ));
    let layout = layout::lay_out(&graph);
    for (a, one) in layout.boxes.iter().enumerate() {
        for other in &layout.boxes[a + 1..] {
            let apart = one.x + one.width < other.x
                || other.x + other.width < one.x
                || one.y + one.height < other.y
                || other.y + other.height < one.y;
            assert!(apart, "{one:?} {other:?}");
        }
        assert!(one.x + one.width < layout.width && one.y + one.height < layout.height);
    }
    for pair in layout.buses.windows(2) {
        let [left, right] = pair else { continue };
        let apart = (left.x - right.x).abs() >= (left.label + right.label) / 2.0;
        assert!(apart, "labels of {left:?} and {right:?}");
    }
    for bus in &layout.buses {
        for stub in &bus.stubs {
            let placed = &layout.boxes[stub.port.0];
            assert!(stub.x == placed.x || stub.x == placed.x + placed.width);
            // Between the two there is nothing but space.
            let (left, right) = (stub.x.min(bus.x) + 0.1, stub.x.max(bus.x) - 0.1);
            let crossed = layout.boxes.iter().any(|other| {
                other.x < right
                    && other.x + other.width > left
                    && other.y < stub.y
                    && other.y + other.height > stub.y
            });
            assert!(!crossed, "{stub:?}");
        }
    }
}

#[test]
fn steps_show_what_came_changed_and_went() {
    use explain::graph::Change::{self, Changed, Gone, New};
    let script = "mkdir /a /b\nmount -t tmpfs one /a\nmount --make-shared /a\nmount --bind /a /b\numount /a\numount /c\n\
                  ns copy\n@copy umount /b";
    let (outcome, pictures) = Simulation::default().run_drawn(&Script::parse(script).unwrap());
    let marked = |graph: &Graph| -> Vec<(String, Change)> {
        let rows = graph.spaces.iter().flat_map(|space| {
            space.mounts.iter().map(move |row| (format!("{}:{}", space.name, row.path), row.change))
        });
        rows.filter_map(|(place, change)| Some((place, change?))).collect()
    };
    let told: Vec<_> = pictures
        .iter()
        .map(|picture| (picture.step.map(|step| outcome.steps[step].line), marked(&picture.graph)))
        .collect();
    let one = |place: &str, change| vec![(place.to_owned(), change)];
    let expected = [
        (None, vec![]),
        (Some(2), one("host:/a", New)),
        (Some(3), one("host:/a", Changed)),
        (Some(4), one("host:/b", New)),
        (Some(5), one("host:/a", Gone)),
        (Some(7), [one("copy:/", New), one("copy:/b", New)].concat()),
        (Some(8), one("copy:/b", Gone)),
    ];
    assert_eq!(told, expected, "lines that change no mount have no picture");
    let page = steps_html(&outcome, &pictures, "title");
    assert_eq!(page.matches("<svg").count(), pictures.len());
    assert_eq!(page.matches("<style>").count(), 1);
    assert!(page.contains("data-picture=\"4\"><span class=\"no\">6</span><code>umount /c</code><span class=\"bad\">ENOENT</span>"));
    let picture = steps_svg(&outcome, &pictures, "title");
    assert_eq!(picture.matches("<svg").count(), pictures.len() + 1);
    assert_eq!(picture.matches("class=\"legend\"").count(), 1);
}

#[test]
fn hostile_lines_stay_text() {
    let script = "mkdir '/</script><script>alert(1)</script>' '/]]>'\nmount -t tmpfs '\"><svg onload=x>' '/</script><script>alert(1)</script>'";
    let (outcome, pictures) = Simulation::default().run_drawn(&Script::parse(script).unwrap());
    let page = steps_html(&outcome, &pictures, "</title><script>");
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert_eq!(page.matches("<svg").count(), pictures.len());
    let picture = steps_svg(&outcome, &pictures, "</svg><script>");
    assert!(!picture.contains("<script") && !picture.contains("onload=x>"));
}

#[test]
fn a_long_script_has_pictures_up_to_a_bound() {
    let lines = "mount --make-shared /\nmount --make-private /\n".repeat(PICTURES_MAX);
    let (outcome, pictures) = Simulation::default().run_drawn(&Script::parse(&lines).unwrap());
    assert_eq!((outcome.steps.len(), pictures.len()), (2 * PICTURES_MAX, PICTURES_MAX));
    // The steps after that keep the last one.
    let last =
        format!("data-picture=\"{}\"><span class=\"no\">{}</span>", PICTURES_MAX - 1, 2 * PICTURES_MAX);
    assert!(steps_html(&outcome, &pictures, "").contains(&last));
}
