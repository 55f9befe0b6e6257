//! What of a progressive JPEG a picture of an eighth of its sides is made of.
//!
//! At that scale libjpeg makes one pixel of a block of 8 by 8, of its mean (coefficient 0) alone; a component that is sampled at half the
//! rate of the finest keeps all coefficients, for of its blocks it makes more pixels (`jpeg_core_output_dimensions` in libjpeg-turbo's
//! `jdmaster.c`). So scans with other coefficients of a component of means need not be read, which is most of the work. Where coefficients
//! are missing libjpeg guesses them, and changes means, unless a factor of their quantization table is 0 (`smoothing_ok` in
//! `jdcoefct.c`): the tables of components of means get zeros there. The pixels are those of the whole file.

use std::ops::Range;

use super::markers::{next_marker, take_segment};

/// Coefficients of a block.
const COEFFICIENTS: usize = 64;
/// Components at most.
const COMPONENTS_MAX: usize = 4;
/// A coefficient of which nothing has come.
const NOTHING: u8 = u8::MAX;

/// A smaller file of the same picture at an eighth of its sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Eighth {
    /// What is left out.
    dropped: Vec<Range<usize>>,
    /// Factors of quantization that become 0.
    zeroed: Vec<Range<usize>>,
    /// Scans that are left.
    pub scans: usize,
}

/// One component, as the frame header describes it and scans complete it.
struct Component {
    name: u8,
    table: u8,
    /// For each coefficient, how many of its lowest bits are still to come.
    missing: [u8; COEFFICIENTS],
    /// Whether only its means are used.
    of_means: bool,
}

/// What a file's segments have said so far.
#[derive(Default)]
struct Walk {
    components: Vec<Component>,
    /// Where the factors of the tables lie but for the first, by table.
    tables: Vec<(u8, Range<usize>)>,
    dropped: Vec<Range<usize>>,
    scans: usize,
}

impl Eighth {
    /// That of a file; `None` where all of it is needed, and for a file that is not plainly a progressive one with all its scans.
    pub(super) fn of(encoded: &[u8]) -> Option<Self> {
        let mut walk = Walk::default();
        let mut rest = encoded.get(2..)?;
        loop {
            let (marker, after) = next_marker(rest)?;
            let start = encoded.len() - after.len() - 2;
            rest = after;
            match marker {
                0xd9 => return walk.ended(),
                0x01 | 0xd0..=0xd7 => continue,
                _ => {}
            }
            let segment = take_segment(&mut rest)?;
            let content = encoded.len() - rest.len() - segment.len();
            match marker {
                0xc2 => walk.frame(segment)?,
                0xda => {
                    let end = encoded.len() - scan_end(rest)?.len();
                    walk.scan(segment, start..end)?;
                    rest = &encoded[end..];
                }
                0xdb => walk.factors(segment, content)?,
                0xc4 | 0xdd | 0xe0..=0xef | 0xfe => {}
                _ => return None,
            }
        }
    }

    /// The smaller file.
    pub(super) fn file(&self, encoded: &[u8]) -> Vec<u8> {
        let mut file = Vec::with_capacity(encoded.len());
        let mut at = 0;
        let end = encoded.len()..encoded.len();
        for dropped in self.dropped.iter().chain([&end]) {
            file.extend_from_slice(&encoded[at..dropped.start]);
            at = dropped.end;
        }
        // Tables precede the scans, so that they lie where they did.
        for zeroed in &self.zeroed {
            file[zeroed.clone()].fill(0);
        }
        file
    }
}

impl Walk {
    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, _, _, _, _, count, components @ ..] = segment else {
            return None;
        };
        let (components, left) = components.as_chunks::<3>();
        let fits = components.len() == usize::from(*count) && left.is_empty() && self.components.is_empty();
        if !fits || components.is_empty() || components.len() > COMPONENTS_MAX {
            return None;
        }
        let sampling = |factors: u8| [factors >> 4, factors & 15];
        let most = |axis: usize| components.iter().map(|[_, factors, _]| sampling(*factors)[axis]).max();
        let most = [most(0)?, most(1)?];
        for [name, factors, table] in components {
            let sampling = sampling(*factors);
            let named = |other: &Component| other.name == *name;
            if sampling.contains(&0) || self.components.iter().any(named) {
                return None;
            }
            let halved = (0..2).all(|axis| most[axis].is_multiple_of(2 * sampling[axis]));
            self.components.push(Component {
                name: *name,
                table: *table,
                missing: [NOTHING; COEFFICIENTS],
                of_means: !halved,
            });
        }
        Some(())
    }

    /// Quantization tables, whose segment's content begins at `content` in the file. They must not change between scans.
    fn factors(&mut self, segment: &[u8], content: usize) -> Option<()> {
        let mut rest = segment;
        while let [kind, factors @ ..] = rest {
            let width = if kind >> 4 == 0 { 1 } else { 2 };
            let start = content + segment.len() - factors.len();
            rest = factors.get(COEFFICIENTS * width..)?;
            self.tables
                .push((kind & 15, start + width..start + COEFFICIENTS * width));
        }
        (self.scans == 0 && self.dropped.is_empty()).then_some(())
    }

    /// A scan that lies at `place`: it must add to what has come of its coefficients, as the standard has it (ITU-T T.81, G.1.1.1).
    fn scan(&mut self, header: &[u8], place: Range<usize>) -> Option<()> {
        let (count, rest) = header.split_first()?;
        let (names, parameters) = rest.split_at_checked(2 * usize::from(*count))?;
        let [first, last, bits] = *parameters else {
            return None;
        };
        let (known, missing) = (bits >> 4, bits & 15);
        let means = first == 0 && last == 0;
        let others = first > 0 && first <= last && usize::from(last) < COEFFICIENTS && *count == 1;
        if !means && !others || *count == 0 {
            return None;
        }
        let mut needed = false;
        for [name, _] in names.as_chunks::<2>().0 {
            let component = self.components.iter_mut().find(|component| component.name == *name)?;
            for coefficient in &mut component.missing[usize::from(first)..=usize::from(last)] {
                let continues = match *coefficient {
                    NOTHING => known == 0,
                    before => before == known && missing + 1 == known,
                };
                if !continues {
                    return None;
                }
                *coefficient = missing;
            }
            needed |= means || !component.of_means;
        }
        if needed {
            self.scans += 1;
        } else {
            self.dropped.push(place);
        }
        Some(())
    }

    fn ended(self) -> Option<Eighth> {
        let whole = |component: &Component| component.missing == [0; COEFFICIENTS];
        let shared = |table: u8| {
            let mut others = self.components.iter().filter(|component| component.table == table);
            others.any(|component| !component.of_means)
        };
        let of_means = || self.components.iter().filter(|component| component.of_means);
        let usable = self.components.iter().all(whole) && !of_means().any(|component| shared(component.table));
        if self.dropped.is_empty() || !usable {
            return None;
        }
        let is_zeroed = |table: u8| of_means().any(|component| component.table == table);
        let tables = self.tables.iter().filter(|(table, _)| is_zeroed(*table));
        Some(Eighth {
            zeroed: tables.map(|(_, place)| place.clone()).collect(),
            dropped: self.dropped,
            scans: self.scans,
        })
    }
}

/// What follows a scan's data: everything from the next marker on that is part of no data.
fn scan_end(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data;
    loop {
        let (marker, after) = next_marker(rest)?;
        if !matches!(marker, 0xd0..=0xd7) {
            return data.get(data.len() - after.len() - 2..);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of this marker.
    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], content].concat()
    }

    /// A frame of these components: name, sampling, table.
    fn frame(components: &[[u8; 3]]) -> Vec<u8> {
        let head = [8, 0, 16, 0, 16, components.len() as u8];
        segment(0xc2, &[&head[..], &components.concat()].concat())
    }

    fn table(id: u8) -> Vec<u8> {
        segment(0xdb, &[&[id][..], &[7; 64]].concat())
    }

    /// A scan of components, with first and last coefficient and the bits before and after it; some data, a restart in it.
    fn scan(components: &[u8], first: u8, last: u8, bits: u8) -> Vec<u8> {
        let names: Vec<u8> = components.iter().flat_map(|name| [*name, 0]).collect();
        let content = [&[components.len() as u8][..], &names, &[first, last, bits]].concat();
        [segment(0xda, &content), b"\x12\xff\x00\xff\xd0\x34".to_vec()].concat()
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        [&b"\xff\xd8"[..], &parts.concat(), b"\xff\xd9"].concat()
    }

    const HALVED: [[u8; 3]; 3] = [[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]];

    fn colour(components: &[[u8; 3]]) -> Vec<Vec<u8>> {
        vec![
            table(0),
            table(1),
            frame(components),
            scan(&[1, 2, 3], 0, 0, 0x01),
            scan(&[1], 1, 5, 0x02),
            scan(&[2], 1, 63, 0x00),
            scan(&[3], 1, 63, 0x00),
            scan(&[1], 6, 63, 0x02),
            segment(0xc4, &[0x10]),
            scan(&[1], 1, 63, 0x21),
            scan(&[1, 2, 3], 0, 0, 0x10),
            scan(&[1], 1, 63, 0x10),
        ]
    }

    #[test]
    fn scans_of_the_finest_component_are_dropped_but_for_its_means() {
        let parts = colour(&HALVED);
        let whole = file(&parts);
        let eighth = Eighth::of(&whole).unwrap();
        let mut left = vec![segment(0xdb, &[&[0, 7][..], &[0; 63]].concat())];
        left.extend([1, 2, 3, 5, 6, 8, 10].map(|part| parts[part].clone()));
        assert_eq!(eighth.file(&whole), file(&left));
        assert_eq!(eighth.scans, 4);
    }

    #[test]
    fn without_subsampling_only_means_are_left() {
        let even = [[1, 0x11, 0], [2, 0x11, 1], [3, 0x11, 1]];
        let whole = file(&colour(&even));
        let eighth = Eighth::of(&whole).unwrap();
        assert_eq!((eighth.scans, eighth.zeroed.len()), (2, 2));
        let across = [[1, 0x21, 0], [2, 0x11, 1], [3, 0x11, 1]];
        assert_eq!(Eighth::of(&file(&colour(&across))).unwrap().scans, 2);
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        let none = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut parts = colour(&HALVED);
            change(&mut parts);
            assert_eq!(Eighth::of(&file(&parts)), None);
        };
        none(&|parts| drop(parts.remove(10)));
        none(&|parts| drop(parts.pop()));
        none(&|parts| parts.swap(9, 11));
        none(&|parts| parts.insert(5, table(0)));
        none(&|parts| parts.insert(5, segment(0xdc, &[0, 16])));
        none(&|parts| parts[2] = frame(&[[1, 0x22, 0], [2, 0x11, 0], [3, 0x11, 0]]));
        none(&|parts| parts[2] = frame(&[[1, 0x22, 0], [1, 0x11, 1], [3, 0x11, 1]]));
        none(&|parts| parts[2] = frame(&[[1, 0x20, 0], [2, 0x11, 1], [3, 0x11, 1]]));
        none(&|parts| parts.truncate(4));
        none(&|parts| parts[4] = scan(&[1], 5, 64, 0x02));
        let whole = file(&colour(&HALVED));
        for length in 0..whole.len() {
            assert_eq!(Eighth::of(&whole[..length]), None, "{length}");
        }
    }
}
