//! Layers → one canonical archive of what is visible, without unpacking anything.

mod writer;

use std::{
    collections::HashMap,
    io::{BufReader, Read, Write},
};

use super::{
    LayerError,
    archive::{Archive, Kind, Member},
    path::{self, shown},
    scene::Scene,
};
use crate::limits;
pub use writer::FlattenStats;
use writer::Writer;

/// Bytes read and written at once.
const BUFFER: usize = 128 << 10;
/// What whiteouts begin with, the name that makes a directory opaque, and what an older union file system's private files begin with.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const PRIVATE: &[u8] = b".wh..wh.";

/// Writes the tree that `count` layers make together as one archive. `open` opens the uncompressed archive of a layer, 0 being
/// the lowest; each is read to its end.
///
/// The layers are read from the top down, and what a layer above has not hidden is written as it passes: memory holds paths and
/// no content (see [`limits::SCENE_BYTES`]).
///
/// - A whiteout hides a name of the layers below, an opaque directory what is inside of those below; a file hides what is below
///   it, and ends a directory of the layers below also where a directory above it continues the tree. As in overlay, a name that
///   leads through a symlink is resolved inside its own layer only.
/// - A directory is described by the topmost layer that has a member for it. If it gets something after other things were
///   written, it is written again at the end: unpacking has changed its time.
/// - A hard link is written as one if its target is visible. If the target is hidden, the first link is written with the
///   target's content, after the rest of its layer, which is read a second time for that; the others become links to it. A
///   target that is not in the layer is looked for in those below: the topmost that has it counts.
/// - Owners, modes, times with their fractions and extended attributes are those of the layers, except overlay's private
///   attributes; holes of sparse files become zeros. Equal layers make equal archives.
///
/// # Errors
/// [`LayerError`]: as [`super::apply`]; and a layer in which a file takes the place of a directory.
pub fn flatten<R: Read>(
    count: usize,
    open: &mut dyn FnMut(usize) -> Result<R, LayerError>,
    out: impl Write,
) -> Result<FlattenStats, LayerError> {
    let layers = u16::try_from(count)
        .ok()
        .filter(|_| count <= limits::LAYERS)
        .ok_or(LayerError::Limit {
            what: "layers",
            limit: limits::LAYERS as u64,
        })?;
    let mut writer = Writer::new(out);
    let mut scene = Scene::new();
    let mut waiting = HashMap::new();
    for layer in 0..layers {
        if !scene.shows_any(layer) {
            break;
        }
        let number = usize::from(layers - 1 - layer);
        let mut pass = Pass {
            layer,
            scene: &mut scene,
            writer: &mut writer,
            waiting: &mut waiting,
            place: None,
            symlinks: HashMap::new(),
            hidden: HashMap::new(),
            aliases: HashMap::new(),
            deferred: HashMap::new(),
        };
        pass.read(open(number)?)?;
        if !pass.deferred.is_empty() {
            pass.writer.stats.read_again += 1;
            pass.read_deferred(open(number)?)?;
        }
    }
    if let Some((target, links)) = waiting.into_iter().min() {
        return Err(LayerError::LinkTarget {
            path: shown(&links[0]),
            target: shown(&target),
        });
    }
    for (path, member) in scene.touched() {
        writer.header(&path, &member, None)?;
    }
    writer.finish()
}

/// The names that want to be a file.
type Links = HashMap<Vec<u8>, Vec<Vec<u8>>>;

/// One layer being read.
struct Pass<'a, W: Write> {
    layer: u16,
    scene: &'a mut Scene,
    writer: &'a mut Writer<W>,
    /// Links of layers above whose target is in a layer below them.
    waiting: &'a mut Links,
    /// The directory of the last member: as named, where that is, and whether it is open to view.
    place: Option<(Vec<u8>, Vec<u8>, bool)>,
    /// The layer's own symlinks: a later member may lead through them.
    symlinks: HashMap<Vec<u8>, Vec<u8>>,
    /// Files of the layer that are not visible, and how often the archive has them.
    hidden: HashMap<Vec<u8>, u32>,
    /// Hard links of the layer that are not visible, or not written yet, with their targets.
    aliases: HashMap<Vec<u8>, Vec<u8>>,
    /// Visible links of the layer whose targets are hidden.
    deferred: Links,
}

impl<W: Write> Pass<'_, W> {
    fn read(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut archive = archive(layer);
        let mut entries = 0;
        while let Some(member) = archive.next()? {
            entries += 1;
            if entries > limits::LAYER_ENTRIES {
                return Err(LayerError::Limit {
                    what: "entries",
                    limit: limits::LAYER_ENTRIES,
                });
            }
            self.member(member, &mut archive)?;
        }
        // To the end: whoever gives the stream verifies it there.
        archive.drain()
    }

    fn member<R: Read>(
        &mut self,
        member: Member,
        archive: &mut Archive<R>,
    ) -> Result<(), LayerError> {
        if member.kind == Kind::Global {
            return Ok(());
        }
        let named = path::clean(&member.path)?;
        let Some((directory, name)) = path::split(&named) else {
            return self.root(member);
        };
        if private(directory, name) {
            return Ok(());
        }
        if directory
            .split(|byte| *byte == b'/')
            .any(|component| component.starts_with(WHITEOUT))
        {
            return Err(LayerError::Malformed {
                path: shown(&named),
                what: "something inside of a whiteout",
            });
        }
        let (directory, open) = self.directory(directory)?;
        if name == OPAQUE {
            return self.scene.make_opaque(&directory, self.layer);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(LayerError::Malformed {
                    path: shown(&named),
                    what: "a whiteout of no name",
                });
            }
            return self.scene.close(&joined(&directory, hidden), self.layer);
        }
        self.place(member, &joined(&directory, name), open, archive)
    }

    fn root(&mut self, member: Member) -> Result<(), LayerError> {
        if member.kind != Kind::Directory {
            return Err(LayerError::Malformed {
                path: shown(b"/"),
                what: "the layer's root is no directory",
            });
        }
        self.described(member, b"", true)
    }

    fn place<R: Read>(
        &mut self,
        member: Member,
        path: &[u8],
        open: bool,
        archive: &mut Archive<R>,
    ) -> Result<(), LayerError> {
        match &member.kind {
            Kind::Directory => return self.described(member, path, open),
            Kind::HardLink => return self.link(&member, path, open),
            Kind::Character(0, 0) => {
                return Err(LayerError::Unsupported {
                    path: shown(path),
                    what: "the character device 0:0, overlay's whiteout",
                });
            }
            Kind::Symlink => {
                if member.link.is_empty() || member.link.contains(&0) {
                    return Err(LayerError::Malformed {
                        path: shown(path),
                        what: "a symlink without a target",
                    });
                }
                self.scene.charge(path)?;
                self.symlinks.insert(path.to_vec(), member.link.clone());
                self.place = None;
            }
            _ => {}
        }
        // What replaces a symlink of the same layer is no way any more.
        if member.kind != Kind::Symlink && self.symlinks.remove(path).is_some() {
            self.place = None;
        }
        let wanted = self.waiting.remove(path).unwrap_or_default();
        if open && self.scene.place_leaf(path, self.layer)? {
            self.writer.member(path, &member, archive)?;
            self.scene.wrote(path);
            return self.links(&wanted, path, &member);
        }
        self.writer.stats.hidden += 1;
        self.scene.charge(path)?;
        *self.hidden.entry(path.to_vec()).or_default() += 1;
        // Nobody sees it under its own name, but somebody above under another.
        match wanted.split_first() {
            None => Ok(()),
            Some((first, others)) => {
                self.writer.member(first, &member, archive)?;
                self.scene.wrote(first);
                self.links(others, first, &member)
            }
        }
    }

    fn described(&mut self, member: Member, path: &[u8], open: bool) -> Result<(), LayerError> {
        if self.symlinks.remove(path).is_some() {
            self.place = None;
        }
        if !open || !self.scene.place_directory(path, self.layer)? {
            self.writer.stats.hidden += 1;
            return Ok(());
        }
        self.writer.header(path, &member, None)?;
        self.scene.wrote(path);
        self.scene.keep(path, self.layer, member)
    }

    /// Decides what becomes of a hard link, and of those above that wait for its name.
    fn link(&mut self, member: &Member, path: &[u8], open: bool) -> Result<(), LayerError> {
        let named = path::clean(&member.link)?;
        let missing = || LayerError::LinkTarget {
            path: shown(path),
            target: shown(&named),
        };
        let (directory, name) = path::split(&named).ok_or_else(missing)?;
        let (directory, _) = self.directory(directory)?;
        let mut target = joined(&directory, name);
        // Of a link that is not written under its own name, the target is meant.
        if let Some(original) = self.aliases.get(&target) {
            target.clone_from(original);
        }
        let mut names = self.waiting.remove(path).unwrap_or_default();
        if target == path {
            names.clear();
        } else if open && self.scene.place_leaf(path, self.layer)? {
            names.insert(0, path.to_vec());
        } else {
            self.writer.stats.hidden += 1;
        }
        let visible = self.scene.leaf(&target) == Some(self.layer);
        if !visible && target != path {
            self.scene.charge(path)?;
            self.aliases.insert(path.to_vec(), target.clone());
        }
        if names.is_empty() {
            return Ok(());
        }
        if self.hidden.contains_key(&target) {
            self.deferred.entry(target).or_default().extend(names);
        } else if visible {
            self.links(&names, &target, member)?;
        } else {
            self.waiting.entry(target).or_default().extend(names);
        }
        Ok(())
    }

    /// Writes hard links to something that was written.
    fn links(
        &mut self,
        names: &[Vec<u8>],
        target: &[u8],
        member: &Member,
    ) -> Result<(), LayerError> {
        for name in names {
            self.writer.header(name, member, Some(target))?;
            self.scene.wrote(name);
        }
        Ok(())
    }

    /// Reads the layer a second time, for the hidden files that have visible links.
    fn read_deferred(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut archive = archive(layer);
        self.symlinks.clear();
        self.place = None;
        while let Some(member) = archive.next()? {
            if matches!(member.kind, Kind::Global | Kind::Directory | Kind::HardLink) {
                continue;
            }
            let named = path::clean(&member.path)?;
            let Some((directory, name)) = path::split(&named) else {
                continue;
            };
            let (directory, _) = self.directory(directory)?;
            let path = joined(&directory, name);
            if member.kind == Kind::Symlink {
                self.symlinks.insert(path.clone(), member.link.clone());
                self.place = None;
            } else if self.symlinks.remove(&path).is_some() {
                self.place = None;
            }
            let Some(left) = self.hidden.get_mut(&path) else {
                continue;
            };
            // An archive that has a file twice means the last one.
            *left = left.saturating_sub(1);
            if *left > 0 {
                continue;
            }
            let Some(names) = self.deferred.remove(&path) else {
                continue;
            };
            self.writer.member(&names[0], &member, &mut archive)?;
            self.scene.wrote(&names[0]);
            self.links(&names[1..], &names[0], &member)?;
        }
        archive.drain()
    }

    /// Finds where a directory of the layer is, through the layer's own symlinks, and whether it is open to view.
    fn directory(&mut self, named: &[u8]) -> Result<(Vec<u8>, bool), LayerError> {
        if let Some((last, place, open)) = &self.place
            && last == named
        {
            return Ok((place.clone(), *open));
        }
        let place = self.resolve(named)?;
        let open = self.scene.shows_inside(&place, self.layer);
        self.place = Some((named.to_vec(), place.clone(), open));
        Ok((place, open))
    }

    fn resolve(&self, named: &[u8]) -> Result<Vec<u8>, LayerError> {
        let mut path = named.to_vec();
        if self.symlinks.is_empty() {
            return Ok(path);
        }
        let mut followed = 0;
        let mut from = 0;
        while from < path.len() {
            let end = path[from..]
                .iter()
                .position(|byte| *byte == b'/')
                .map_or(path.len(), |at| from + at);
            let Some(target) = self.symlinks.get(&path[..end]) else {
                from = end + 1;
                continue;
            };
            followed += 1;
            if followed > limits::PARENT_SYMLINKS {
                return Err(LayerError::Limit {
                    what: "symlinks in a path",
                    limit: limits::PARENT_SYMLINKS as u64,
                });
            }
            let above = path::split(&path[..end]).map_or(&b""[..], |(above, _)| above);
            let start: &[u8] = if target.starts_with(b"/") { b"" } else { above };
            let whole = [
                start,
                b"/",
                target,
                b"/",
                &path[(end + 1).min(path.len())..],
            ]
            .concat();
            path = path::clean_target(&whole)?;
            from = 0;
        }
        Ok(path)
    }
}

fn archive<R: Read>(layer: R) -> Archive<BufReader<R>> {
    Archive::new(
        BufReader::with_capacity(BUFFER, layer),
        limits::LAYER_UNPACKED_BYTES,
    )
}

/// Tells whether a name belongs to an older union file system's private files, which were never content.
fn private(directory: &[u8], name: &[u8]) -> bool {
    let is_private = |component: &[u8]| component.starts_with(PRIVATE);
    name != OPAQUE && is_private(name) || directory.split(|byte| *byte == b'/').any(is_private)
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}
