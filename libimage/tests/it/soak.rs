//! Many images through random faults, and then both ends compared.
//!
//! `SOAK_IMAGES` sets how many (`make soak` copies 500), `SOAK_SEED` repeats a run: it is printed by one that fails.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libimage::{
    ErrorKind,
    context::{Context, Patience},
};
use trimaran_testkit::{
    Content, Fault, Image, ImageMaker, Index, Packing, Registry, Rule, image::noise,
};

use crate::net::{assert_holds, builder, copy, patience};

/// Images without `SOAK_IMAGES`: some seconds.
const IMAGES: u64 = 40;
/// Repositories on either end: few, so that blobs are mounted and tags overwritten.
const REPOSITORIES: u64 = 5;

/// A source of numbers that a seed repeats (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap()].clone()
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// An image of up to five layers, some of which other images have too.
fn an_image(random: &mut Random) -> Image {
    let mut maker = ImageMaker::new().env(&[&format!("N={}", random.below(1000))]);
    for _ in 0..random.below(6) {
        let size = random.pick(&[0, 1, 1000, 65_536, 65_537, 300_000]);
        let shift = usize::try_from(random.below(4)).unwrap();
        let packing = random.pick(&[Packing::Plain, Packing::Gzip, Packing::Zstd]);
        maker = maker.tar_layer(&noise(size + shift)[shift..], packing);
    }
    if random.below(4) == 0 {
        maker = maker.docker();
    }
    maker.make()
}

fn some_content(random: &mut Random) -> Box<dyn Content> {
    if random.below(3) > 0 {
        return Box::new(an_image(random));
    }
    let images = (0..=random.below(3)).map(|_| an_image(random)).collect();
    Box::new(Index::new(images))
}

/// Something that goes wrong, a few times or for ever.
fn a_fault(random: &mut Random, of_source: bool) -> Rule {
    let place = random.below(400_000);
    let everywhere = [
        Fault::ResetAt(place),
        Fault::ResetAt(0),
        Fault::Truncate(place),
        Fault::Shorten(place),
        Fault::Status(500),
        Fault::Status(429),
        Fault::RetryAfter(503, 0),
        Fault::Drip(50_000, Duration::from_millis(1)),
        Fault::Chunked,
    ];
    let of_downloads = [
        Fault::Flip,
        Fault::Lengthen(1 + random.below(10)),
        Fault::IgnoreRange,
        Fault::WrongRange,
        Fault::Stall(place),
        Fault::Without("Docker-Content-Digest".into()),
    ];
    let of_uploads = [
        Fault::ResetUpload(place),
        Fault::CutUpload(place),
        Fault::StallUpload(place.min(1000)),
        Fault::MountRefused,
        Fault::Status(404),
        Fault::Status(403),
        Fault::Without("Location".into()),
    ];
    let fault = match (random.below(2), of_source) {
        (0, _) => random.pick(&everywhere),
        (_, true) => random.pick(&of_downloads),
        (_, false) => random.pick(&of_uploads),
    };
    let pattern = random.pick(&["*/blobs/*", "*/manifests/*", "*/blobs/uploads/*", "*"]);
    let rule = Rule::any(pattern).fault(fault);
    match random.below(6) {
        0 => rule,
        1 => rule.nth(usize::try_from(1 + random.below(6)).unwrap()),
        _ => rule.first(usize::try_from(1 + random.below(3)).unwrap()),
    }
}

fn context(stall: Duration) -> Context {
    builder()
        .patience(Patience {
            stall,
            attempts: 4,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(200),
            ..patience()
        })
        .build()
}

#[test]
fn images_survive_whatever_happens() {
    let clock = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos()
    };
    let seed =
        setting("SOAK_SEED").unwrap_or_else(|| u64::try_from(clock() & 0xFFFF_FFFF).unwrap() | 1);
    let images = setting("SOAK_IMAGES").unwrap_or(IMAGES);
    eprintln!("SOAK_SEED={seed} SOAK_IMAGES={images}");
    let mut random = Random(seed);
    let (from, to) = (Registry::start(), Registry::start());
    let mut arrived: Vec<(String, String, Box<dyn Content>)> = Vec::new();
    let (mut smooth, mut failed) = (0, 0);
    let hasty = context(Duration::from_millis(700));
    // When nothing is broken any more, silence means that the machine is busy.
    let patient = context(Duration::from_secs(30));
    for number in 0..images {
        let content = some_content(&mut random);
        let repository = format!("team/{}", random.below(REPOSITORIES));
        let tag = format!("tag-{number}");
        from.add(&repository, &tag, &*content);
        for _ in 0..random.below(4) {
            from.fault(a_fault(&mut random, true));
        }
        for _ in 0..random.below(4) {
            to.fault(a_fault(&mut random, false));
        }
        let ends = (
            from.reference(&repository, &tag),
            to.reference(&repository, &tag),
        );
        let broken = copy(&hasty, &ends.0, &ends.1);
        from.heal();
        to.heal();
        if let Err(error) = &broken {
            failed += 1;
            assert_ne!(
                error.kind(),
                ErrorKind::Canceled,
                "image {number}: {error:?}"
            );
            // Either nothing has the name, or all of the image is there and only the answer was lost.
            if to.manifest(&repository, &tag).is_some() {
                assert_holds(&to, &repository, &tag, &*content);
            }
            copy(&patient, &ends.0, &ends.1)
                .unwrap_or_else(|error| panic!("image {number}, healed: {error:?}"));
        } else {
            smooth += 1;
        }
        assert_holds(&to, &repository, &tag, &*content);
        arrived.push((repository, tag, content));
        from.forget_requests();
        to.forget_requests();
    }
    for (repository, tag, content) in &arrived {
        assert_holds(&to, repository, tag, &**content);
    }
    eprintln!("{smooth} arrived at the first try, {failed} at the second");
    if images >= IMAGES {
        assert!(smooth > 0 && failed > 0, "the faults are worth their name");
    }
}
