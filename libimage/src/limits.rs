//! How much we accept from outside, each number with its reason.

/// Bytes of a manifest or an index. Registries refuse more than 4 MiB themselves; read whole into memory.
pub const MANIFEST_BYTES: u64 = 4 << 20;

/// Bytes of an image configuration; read whole into memory.
pub const CONFIG_BYTES: u64 = 4 << 20;

/// Entries of an index. The largest published ones have a few dozen; the store's own index.json counts too.
pub const INDEX_ENTRIES: usize = 10_000;

/// Bytes of the store's or a layout's index.json: the entries above at about 1.6 KiB each.
pub const INDEX_BYTES: u64 = 16 << 20;

/// Layers of an image. Docker's own limit; overlay itself takes 500 lower directories.
pub const LAYERS: usize = 127;

/// Bytes a layer may have uncompressed: several times the largest known image, and small enough to stop a bomb.
pub const LAYER_UNPACKED_BYTES: u64 = 64 << 30;

/// Entries of a layer's archive: a full distribution has about 400,000.
pub const LAYER_ENTRIES: u64 = 4 << 20;

/// Bytes of a path inside an archive: Linux' PATH_MAX, which every later reader of the tree meets.
pub const PATH_BYTES: usize = 4096;

/// Bytes of one name of a path: Linux' NAME_MAX.
pub const NAME_BYTES: usize = 255;

/// Components of a path inside an archive: 4,096 bytes hold 2,048, no real tree passes a hundred; bounds recursion.
pub const PATH_DEPTH: usize = 1024;

/// Bytes of one extension header (GNU long name, PAX records); read whole into memory.
pub const TAR_EXTENSION_BYTES: u64 = 1 << 20;

/// Bytes of all extended attributes of one file: the size of Linux' buffer for their names and for one value.
pub const XATTR_BYTES: usize = 64 << 10;

/// log2 of the largest zstd window accepted: 128 MiB, the format's own recommendation and `zstd --long`'s default.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// Bytes of the names of a layer's directories, kept until its end: a million directories at 256 bytes.
pub const DIRECTORY_NAMES_BYTES: usize = 256 << 20;

/// Bytes kept to remember what of an image is visible while it is exported: over two million paths.
pub const SCENE_BYTES: usize = 256 << 20;

/// Symlinks followed while missing parent directories are made: fewer than the kernel's 40, as each may need directories.
pub const PARENT_SYMLINKS: usize = 16;
