//! Images as a list.

use crate::table::table;
use crate::text::{cut, size};

/// One image under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// The full reference.
    pub reference: String,
    /// Digest of its config.
    pub id: String,
    /// Bytes of its files.
    pub size: u64,
    /// How many layers it has.
    pub layers: usize,
    /// What it runs.
    pub command: Vec<String>,
}

/// The list, in the order given.
pub fn list(images: &[ImageRow], wide: bool, header: bool) -> String {
    let short_id = |image: &ImageRow| {
        let digits = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
        digits.chars().take(12).collect::<String>()
    };
    if wide {
        let header = header.then_some(["IMAGE", "IMAGE ID", "SIZE", "LAYERS", "COMMAND"]);
        let row = |image: &ImageRow| {
            let command = cut(&image.command.join(" "), 60).into_owned();
            [image.reference.clone(), short_id(image), size(image.size), image.layers.to_string(), command]
        };
        table(header, &images.iter().map(row).collect::<Vec<_>>())
    } else {
        let row = |image: &ImageRow| [image.reference.clone(), short_id(image), size(image.size)];
        let header = header.then_some(["IMAGE", "IMAGE ID", "SIZE"]);
        table(header, &images.iter().map(row).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn short_and_wide() {
        let images = [ImageRow {
            reference: "docker.io/library/busybox:latest".into(),
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            size: 1_234_567,
            layers: 1,
            command: vec!["sh".into(), "-c".into(), "x\ny".into()],
        }];
        expect![[r"
            IMAGE                              IMAGE ID       SIZE
            docker.io/library/busybox:latest   0123456789ab   1.2 MiB
        "]]
        .assert_eq(&list(&images, false, true));
        expect![[r"
            docker.io/library/busybox:latest   0123456789ab   1.2 MiB   1   sh -c x\ny
        "]]
        .assert_eq(&list(&images, true, false));
    }
}
