//! What of several layers is visible, decided from the top layer down, with nothing but paths in memory.
//!
//! Layers are numbered from the top: a mark made by layer `n` hides what layers with greater numbers have.

use std::collections::HashMap;

use super::{LayerError, archive::Member, path, path::shown};
use crate::limits;

/// No layer at all.
const NEVER: u16 = u16::MAX;

/// Bytes a path costs beside its own: the entry of the table.
const OVERHEAD: usize = 96;

/// What is known of a path.
#[derive(Debug)]
struct Node {
    /// The topmost layer that ends the path: below it, nothing is visible at it or inside of it.
    closed: u16,
    /// The topmost layer whose directory here hides what is inside the directories below.
    opaque: u16,
    shape: Shape,
}

/// What is visible at a path.
#[derive(Debug)]
enum Shape {
    /// Nothing yet: there are only marks.
    Nothing,
    /// A directory no archive has described so far, and the topmost layer that has something in it.
    Implied(u16),
    /// A directory, and the layer that described it.
    Directory(u16, Option<Box<Kept>>),
    /// Anything else, and its layer.
    Leaf(u16),
}

/// A directory that was written, in case it has to be written again.
#[derive(Debug)]
struct Kept {
    member: Member,
    /// It got something after whatever unpacks had left it: that has changed its time.
    touched: bool,
}

/// The tree of paths.
#[derive(Debug, Default)]
pub(super) struct Scene {
    nodes: HashMap<Vec<u8>, Node>,
    /// What was written last.
    last: Vec<u8>,
    bytes: usize,
}

impl Scene {
    /// Starts with nothing.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Tells whether a layer can show anything at all.
    pub(super) fn shows_any(&self, layer: u16) -> bool {
        self.nodes
            .get(&b""[..])
            .is_none_or(|root| root.opaque >= layer)
    }

    /// Tells whether a directory of this layer is open to view, itself and all above it.
    pub(super) fn shows_inside(&self, directory: &[u8], layer: u16) -> bool {
        prefixes(directory).all(|prefix| {
            let node = self.nodes.get(prefix);
            node.is_none_or(|node| node.closed >= layer && node.opaque >= layer)
        })
    }

    /// A whiteout: nothing of the layers below is visible at a path.
    pub(super) fn close(&mut self, path: &[u8], layer: u16) -> Result<(), LayerError> {
        let node = self.node(path)?;
        node.closed = node.closed.min(layer);
        Ok(())
    }

    /// Nothing of the layers below is visible inside of a directory.
    pub(super) fn make_opaque(&mut self, path: &[u8], layer: u16) -> Result<(), LayerError> {
        let node = self.node(path)?;
        node.opaque = node.opaque.min(layer);
        Ok(())
    }

    /// Returns the layer whose file, link or device is visible at a path.
    pub(super) fn leaf(&self, path: &[u8]) -> Option<u16> {
        match self.nodes.get(path)?.shape {
            Shape::Leaf(layer) => Some(layer),
            _ => None,
        }
    }

    /// Places something that is no directory; `false` if what is above hides it. Its directory is known to be open to view.
    pub(super) fn place_leaf(&mut self, path: &[u8], layer: u16) -> Result<bool, LayerError> {
        let node = self.node(path)?;
        if node.closed < layer {
            return Ok(false);
        }
        match node.shape {
            // The tree goes on with the directory above; what is below ends here.
            Shape::Implied(made) | Shape::Directory(made, _) if made < layer => {
                node.closed = node.closed.min(layer);
                return Ok(false);
            }
            Shape::Implied(_) | Shape::Directory(..) => {
                return Err(LayerError::Unsupported {
                    path: shown(path),
                    what: "it takes the place of a directory of the same layer",
                });
            }
            Shape::Nothing | Shape::Leaf(_) => {}
        }
        node.closed = node.closed.min(layer);
        node.shape = Shape::Leaf(layer);
        self.imply(path, layer)?;
        Ok(true)
    }

    /// Places a directory; `false` if what is above hides it, or has described it already.
    pub(super) fn place_directory(&mut self, path: &[u8], layer: u16) -> Result<bool, LayerError> {
        let node = self.node(path)?;
        if node.closed < layer {
            return Ok(false);
        }
        match node.shape {
            Shape::Directory(described, _) if described < layer => return Ok(false),
            // A directory that was implied above gets its description from here.
            _ => node.shape = Shape::Directory(layer, None),
        }
        self.imply(path, layer)?;
        Ok(true)
    }

    /// Keeps what was written about a directory.
    pub(super) fn keep(
        &mut self,
        path: &[u8],
        layer: u16,
        member: Member,
    ) -> Result<(), LayerError> {
        self.charge(path)?;
        if let Some(node) = self.nodes.get_mut(path) {
            let member = Member {
                path: Vec::new(),
                link: Vec::new(),
                ..member
            };
            let touched = false;
            node.shape = Shape::Directory(layer, Some(Box::new(Kept { member, touched })));
        }
        Ok(())
    }

    /// Notes that something was written. Unpackers set the time of a directory when they leave it: if it gets something
    /// afterwards, it has to be written again.
    pub(super) fn wrote(&mut self, path: &[u8]) {
        if let Some((directory, _)) = path::split(path)
            && !is_inside(&self.last, directory)
            && let Some(node) = self.nodes.get_mut(directory)
            && let Shape::Directory(_, Some(kept)) = &mut node.shape
        {
            kept.touched = true;
        }
        self.last.clear();
        self.last.extend_from_slice(path);
    }

    /// Gives the directories that have to be written again, in the order of their paths.
    pub(super) fn touched(self) -> Vec<(Vec<u8>, Member)> {
        let mut touched: Vec<_> = self
            .nodes
            .into_iter()
            .filter_map(|(path, node)| match node.shape {
                Shape::Directory(_, Some(kept)) if kept.touched => Some((path, kept.member)),
                _ => None,
            })
            .collect();
        touched.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        touched
    }

    /// Counts what else is remembered.
    pub(super) fn charge(&mut self, path: &[u8]) -> Result<(), LayerError> {
        self.bytes += path.len() + OVERHEAD;
        if self.bytes > limits::SCENE_BYTES {
            return Err(LayerError::Limit {
                what: "bytes in the names of files",
                limit: limits::SCENE_BYTES as u64,
            });
        }
        Ok(())
    }

    /// Makes the directories above something visible.
    fn imply(&mut self, path: &[u8], layer: u16) -> Result<(), LayerError> {
        let Some((mut directory, _)) = path::split(path) else {
            return Ok(());
        };
        loop {
            let node = self.node(directory)?;
            match &node.shape {
                Shape::Nothing if directory.is_empty() => {}
                Shape::Nothing => node.shape = Shape::Implied(layer),
                Shape::Leaf(_) => {
                    return Err(LayerError::Malformed {
                        path: shown(path),
                        what: "it is inside of something that is no directory",
                    });
                }
                // What is above this one is known since it was.
                Shape::Implied(_) | Shape::Directory(..) => {}
            }
            match path::split(directory) {
                Some((above, _)) => directory = above,
                None => return Ok(()),
            }
        }
    }

    fn node(&mut self, path: &[u8]) -> Result<&mut Node, LayerError> {
        if !self.nodes.contains_key(path) {
            self.charge(path)?;
        }
        Ok(self.nodes.entry(path.to_vec()).or_insert(Node {
            closed: NEVER,
            opaque: NEVER,
            shape: Shape::Nothing,
        }))
    }
}

/// Tells whether a path is a directory, or inside of it.
fn is_inside(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || directory.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// A path and all above it, the root first.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    let ends = slashes.chain((!path.is_empty()).then_some(path.len()));
    std::iter::once(0).chain(ends).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_hides_what_is_below() {
        let mut scene = Scene::new();
        assert!(scene.place_leaf(b"a/b", 0).unwrap());
        scene.close(b"x", 0).unwrap();
        scene.make_opaque(b"o", 1).unwrap();
        // The same name below, something inside of a file above, and a file where a directory is.
        assert!(!scene.place_leaf(b"a/b", 1).unwrap());
        assert!(!scene.shows_inside(b"a/b", 1));
        assert!(!scene.place_leaf(b"a", 1).unwrap());
        // A file in the middle ends the directory of the layer below it.
        assert!(!scene.shows_inside(b"a", 2));
        assert!(!scene.shows_inside(b"x/deep", 1));
        assert!(!scene.place_directory(b"x", 1).unwrap());
        assert!(scene.shows_inside(b"o", 1) && !scene.shows_inside(b"o", 2));
        assert!(scene.place_directory(b"o", 2).unwrap());
    }

    #[test]
    fn the_topmost_description_of_a_directory_counts() {
        let mut scene = Scene::new();
        assert!(scene.place_leaf(b"etc/new", 0).unwrap());
        assert!(scene.place_directory(b"etc", 1).unwrap());
        assert!(!scene.place_directory(b"etc", 2).unwrap());
    }

    #[test]
    fn an_opaque_root_ends_the_view() {
        let mut scene = Scene::new();
        assert!(scene.shows_any(1));
        scene.make_opaque(b"", 0).unwrap();
        assert!(scene.shows_any(0) && !scene.shows_any(1));
    }

    #[test]
    fn a_directory_that_is_come_back_to_is_written_again() {
        let directory = || Member {
            path: Vec::new(),
            link: Vec::new(),
            kind: super::super::archive::Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            xattrs: Vec::new(),
        };
        let mut scene = Scene::new();
        for path in [&b"a"[..], b"b"] {
            assert!(scene.place_directory(path, 0).unwrap());
            scene.wrote(path);
            scene.keep(path, 0, directory()).unwrap();
        }
        for path in [&b"b/x"[..], b"b/y", b"a/x"] {
            assert!(scene.place_leaf(path, 0).unwrap());
            scene.wrote(path);
        }
        let again: Vec<_> = scene.touched().into_iter().map(|(path, _)| path).collect();
        assert_eq!(again, [b"a".to_vec()]);
    }

    #[test]
    fn nothing_is_inside_of_a_file() {
        let mut scene = Scene::new();
        assert!(scene.place_leaf(b"a", 0).unwrap());
        assert!(scene.place_leaf(b"a/b", 0).is_err());
        assert!(scene.place_leaf(b"d/x", 0).unwrap());
        assert!(scene.place_leaf(b"d", 0).is_err());
    }
}
