//! Augmentation of training images: random crop, horizontal flip, cutout.
//!
//! | step | on | what it does | source |
//! |---|---|---|---|
//! | crop | raw values | pads `crop` zeros (black) on every side, cuts out the size of before: offsets y, x uniform in 0..=2·crop | He et al., CVPR 2016 |
//! | flip | raw values | mirrors left and right, with probability 1/2 | |
//! | cutout | normalised values | sets a square of side `cutout` to zero, its centre uniform over the image, clipped at the borders | DeVries and Taylor, arXiv:1708.04552, 2017 |
//!
//! What happens to an image depends on the seed, the stage, the epoch and its position in the split
//! alone, so that an interrupted trial resumes with the same images, and the size of a batch
//! changes none. Each step has numbers of its own: switching one on leaves the others as they were.

use tch::{Device, Kind, Tensor};

use super::Augment;
use crate::data::Split;
use crate::ground::{Stream, transfer};
use crate::{Error, Result};

/// What one epoch does to the images of a split: all random numbers, drawn.
#[derive(Debug)]
pub struct Augmentation {
    settings: Augment,
    /// Offsets of the cut in the padded image, `[N, 2]` (y, x).
    offsets: Option<Tensor>,
    /// 1 for a mirrored image, `[N]`.
    mirrored: Option<Tensor>,
    /// Centres of the erased squares, `[N, 2]` (y, x).
    centres: Option<Tensor>,
    /// What is the same for every image.
    grid: Option<Grid>,
}

/// Places in an image, and in the padded one that it is cut out of.
#[derive(Debug)]
struct Grid {
    /// Where each channel of a padded image begins, `[1, C, 1, 1]`.
    channels: Tensor,
    /// Rows of an image, `[1, H]`.
    rows: Tensor,
    /// Columns of an image, and of a mirrored one, `[2, W]`.
    columns: Tensor,
    /// Whether a row is in the square around each centre, `[H, H]`.
    erased_rows: Tensor,
    /// The same of columns, `[W, W]`.
    erased_columns: Tensor,
}

impl Grid {
    fn new(settings: &Augment, (channels, height, width): (i64, i64, i64)) -> Grid {
        let numbers = |count: i64| Tensor::arange(count, (Kind::Int64, Device::Cpu));
        let (crop, side) = (i64::from(settings.crop), i64::from(settings.cutout));
        let erased = |size: i64| {
            let first = numbers(size).view([-1, 1]) - side / 2;
            let distance = numbers(size).view([1, -1]) - first;
            distance.ge(0).logical_and(&distance.lt(side))
        };
        Grid {
            channels: (numbers(channels) * ((height + 2 * crop) * (width + 2 * crop))).view([1, -1, 1, 1]),
            rows: numbers(height).view([1, -1]),
            columns: Tensor::stack(&[numbers(width), (width - 1) - numbers(width)], 0),
            erased_rows: erased(height),
            erased_columns: erased(width),
        }
    }

    fn on(&self, device: Device) -> Grid {
        Grid {
            channels: transfer(&self.channels, device),
            rows: transfer(&self.rows, device),
            columns: transfer(&self.columns, device),
            erased_rows: transfer(&self.erased_rows, device),
            erased_columns: transfer(&self.erased_columns, device),
        }
    }
}

impl Augmentation {
    /// Draws the numbers of `epoch` (from 0) in `stage` for every image of `split`. They are drawn
    /// on the CPU, wherever the images are.
    pub fn draw(settings: &Augment, split: &Split, seed: u64, stage: &str, epoch: usize) -> Augmentation {
        let size = || split.images.size4().map(|(_, _, height, width)| (height, width)).expect("`check` was called");
        let numbers = |what: &str, below: i64| {
            let mut stream = Stream::open(seed, &format!("{stage}/augment/{what}"), epoch as u64);
            Tensor::from_slice(&stream.integers(split.len(), below))
        };
        let pairs = |what: &str, (y, x): (i64, i64)| {
            Tensor::stack(&[numbers(&format!("{what}/y"), y), numbers(&format!("{what}/x"), x)], 1)
        };
        let offsets = 2 * i64::from(settings.crop) + 1;
        let grid = split.images.size4().ok().map(|(_, channels, height, width)| (channels, height, width));
        Augmentation {
            settings: *settings,
            offsets: (settings.crop > 0).then(|| pairs("crop", (offsets, offsets))),
            mirrored: settings.flip.then(|| numbers("flip", 2)),
            centres: (settings.cutout > 0).then(|| pairs("cutout", size())),
            grid: grid.filter(|_| *settings != Augment::default()).map(|size| Grid::new(settings, size)),
        }
    }

    /// The same numbers on a device, moved there at once.
    pub fn on(&self, device: Device) -> Augmentation {
        let moved = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| transfer(tensor, device));
        Augmentation {
            settings: self.settings,
            offsets: moved(&self.offsets),
            mirrored: moved(&self.mirrored),
            centres: moved(&self.centres),
            grid: self.grid.as_ref().map(|grid| grid.on(device)),
        }
    }

    /// Crops and mirrors raw images `[B, C, H, W]` of any kind; `index` is their position in the
    /// split, `[B]`. Both are on the device that the numbers are on.
    pub fn cropped_and_mirrored(&self, images: Tensor, index: &Tensor) -> Tensor {
        let grid = match &self.grid {
            Some(grid) if self.offsets.is_some() || self.mirrored.is_some() => grid,
            _ => return images,
        };
        let (batch, channels, height, width) = images.size4().expect("images are [B, C, H, W]");
        // Where each row and column of the result comes from, `[B, H]` and `[B, W]`, or `[1, ...]`
        // where it is the same for all.
        let mut rows = grid.rows.shallow_clone();
        let mut columns = match &self.mirrored {
            Some(mirrored) => grid.columns.index_select(0, &mirrored.index_select(0, index)),
            None => grid.columns.narrow(0, 0, 1),
        };
        let mut padded = images;
        if let Some(offsets) = &self.offsets {
            let offsets = offsets.index_select(0, index);
            (rows, columns) = (rows + offsets.narrow(1, 0, 1), columns + offsets.narrow(1, 1, 1));
            padded = padded.constant_pad_nd([i64::from(self.settings.crop); 4]);
        }
        // One gather over flat positions is several times faster than an index for each axis.
        let row_width = padded.size()[3];
        let position = &grid.channels + (rows * row_width).view([-1, 1, height, 1]) + columns.view([-1, 1, 1, width]);
        let flat = padded.contiguous().view([batch, -1]).gather(1, &position.view([batch, -1]), false);
        flat.view([batch, channels, height, width])
    }

    /// Erases a square in each of the normalised images `[B, C, H, W]`; `index` is their position
    /// in the split, `[B]`. Both are on the device that the numbers are on.
    pub fn erased(&self, images: Tensor, index: &Tensor) -> Tensor {
        let (Some(centres), Some(grid)) = (&self.centres, &self.grid) else { return images };
        let centres = centres.index_select(0, index);
        let within = |erased: &Tensor, axis: i64| erased.index_select(0, &centres.select(1, axis));
        let rows = within(&grid.erased_rows, 0).unsqueeze(1).unsqueeze(3);
        let columns = within(&grid.erased_columns, 1).unsqueeze(1).unsqueeze(2);
        images.masked_fill(&rows.logical_and(&columns), 0.0)
    }
}

impl Augment {
    /// Refuses what makes no sense for these images; `section` is where the settings stand.
    pub fn check(&self, section: &str, images: &Split) -> Result<()> {
        if *self == Augment::default() {
            return Ok(());
        }
        let refusal =
            |message: String| Err(Error::Plugin { kind: "section", name: format!("{section}.augment"), message });
        let Ok((_, _, height, width)) = images.images.size4() else {
            return refusal("it is for images, and this data set holds something else".into());
        };
        let side = height.min(width);
        for (key, value, limit) in [("crop", self.crop, side - 1), ("cutout", self.cutout, side)] {
            if i64::from(value) > limit {
                return refusal(format!(
                    "`{key}` = {value} is too much for images of {height} x {width}; at most {limit} makes sense"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Normalisation;
    use crate::train::Batches;

    const ALL: Augment = Augment { crop: 2, flip: true, cutout: 3 };

    /// Images in which no two values are the same.
    fn split(count: i64, [channels, height, width]: [i64; 3]) -> Split {
        let images = Tensor::arange(count * channels * height * width, (Kind::Float, Device::Cpu)) + 1.0;
        Split {
            images: images.view([count, channels, height, width]),
            labels: Tensor::zeros([count], (Kind::Int64, Device::Cpu)),
        }
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
    }

    fn pair(tensor: &Option<Tensor>, row: i64) -> (i64, i64) {
        let tensor = tensor.as_ref().unwrap();
        (tensor.int64_value(&[row, 0]), tensor.int64_value(&[row, 1]))
    }

    /// The value of one pixel by the definitions, one after another.
    fn reference(split: &Split, drawn: &Augmentation, at: [i64; 4]) -> f32 {
        let [image, channel, y, x] = at;
        let (_, _, height, width) = split.images.size4().unwrap();
        let (centre_y, centre_x) = pair(&drawn.centres, image);
        let half = i64::from(drawn.settings.cutout) / 2;
        let side = i64::from(drawn.settings.cutout);
        if (centre_y - half..centre_y - half + side).contains(&y)
            && (centre_x - half..centre_x - half + side).contains(&x)
        {
            return 0.0;
        }
        // The flip comes after the crop: it mirrors the cut.
        let x = if drawn.mirrored.as_ref().unwrap().int64_value(&[image]) == 1 { width - 1 - x } else { x };
        let (offset_y, offset_x) = pair(&drawn.offsets, image);
        let crop = i64::from(drawn.settings.crop);
        let (from_y, from_x) = (y + offset_y - crop, x + offset_x - crop);
        let raw = if (0..height).contains(&from_y) && (0..width).contains(&from_x) {
            split.images.double_value(&[image, channel, from_y, from_x]) as f32
        } else {
            0.0
        };
        (raw - 10.0) / 4.0
    }

    #[test]
    fn batches_are_what_the_definitions_say_pixel_by_pixel() {
        let split = split(12, [2, 5, 6]);
        let normalisation = Normalisation { mean: vec![10.0, 10.0], std: vec![4.0, 4.0] };
        let order = vec![7, 3, 0, 11, 5];
        let drawn = Augmentation::draw(&ALL, &split, 3, "retrain", 2);
        let again = Augmentation::draw(&ALL, &split, 3, "retrain", 2);
        let batches = Batches::new(&split, &normalisation, order.clone(), 3, Device::Cpu).augmented(drawn);
        let mut images = order.into_iter();
        for batch in batches {
            for row in 0..batch.len() as i64 {
                let image = images.next().unwrap();
                for (channel, y, x) in (0..2).flat_map(|c| (0..5).flat_map(move |y| (0..6).map(move |x| (c, y, x)))) {
                    let found = batch.images.double_value(&[row, channel, y, x]) as f32;
                    let expected = reference(&split, &again, [image, channel, y, x]);
                    assert!((found - expected).abs() < 1e-5, "{image} {channel} {y} {x}: {found} {expected}");
                }
            }
        }
        assert_eq!(images.next(), None);
    }

    #[test]
    fn raw_bytes_stay_bytes_and_padding_is_black() {
        let mut split = split(8, [1, 4, 4]);
        split.images = (split.images + 50.0).to_kind(Kind::Uint8);
        let drawn = Augmentation::draw(&Augment { crop: 1, ..Augment::default() }, &split, 0, "search", 0);
        let index = Tensor::arange(8, (Kind::Int64, Device::Cpu));
        let images = drawn.cropped_and_mirrored(split.images.shallow_clone(), &index);
        assert_eq!((images.kind(), images.size()), (Kind::Uint8, vec![8, 1, 4, 4]));
        for image in 0..8 {
            let (y, x) = pair(&drawn.offsets, image);
            let lost = 16 - (4 - (y - 1).abs()) * (4 - (x - 1).abs());
            let black = values(&images.get(image)).iter().filter(|&&value| value == 0.0).count() as i64;
            assert_eq!(black, lost, "offset {y} {x}");
        }
    }

    #[test]
    fn the_same_address_gives_the_same_images_and_another_does_not() {
        let split = split(20, [1, 6, 6]);
        let index = Tensor::arange(20, (Kind::Int64, Device::Cpu));
        let images = |settings: &Augment, seed, stage, epoch| {
            let drawn = Augmentation::draw(settings, &split, seed, stage, epoch);
            values(&drawn.erased(drawn.cropped_and_mirrored(split.images.shallow_clone(), &index), &index))
        };
        assert_eq!(images(&ALL, 0, "retrain", 4), images(&ALL, 0, "retrain", 4));
        for (seed, stage, epoch) in [(1, "retrain", 4), (0, "search", 4), (0, "retrain", 5)] {
            assert_ne!(images(&ALL, 0, "retrain", 4), images(&ALL, seed, stage, epoch));
        }
        assert_eq!(images(&Augment::default(), 0, "retrain", 4), values(&split.images));
        let drawn = |settings: &Augment| {
            values(Augmentation::draw(settings, &split, 0, "retrain", 0).mirrored.as_ref().unwrap())
        };
        assert_eq!(drawn(&ALL), drawn(&Augment { flip: true, ..Augment::default() }), "steps do not shift one another");
    }

    #[test]
    fn half_of_the_images_are_mirrored_and_offsets_are_uniform() {
        let split = split(10_000, [1, 1, 1]);
        let drawn = Augmentation::draw(&Augment { crop: 4, flip: true, cutout: 0 }, &split, 0, "retrain", 0);
        let mirrored = values(drawn.mirrored.as_ref().unwrap()).iter().sum::<f32>();
        // Four standard deviations: 4 · sqrt(10000 / 4) = 200.
        assert!((mirrored - 5_000.0).abs() < 200.0, "{mirrored}");
        for axis in 0..2 {
            let counts = drawn.offsets.as_ref().unwrap().select(1, axis).bincount::<Tensor>(None, 0);
            let counts = Vec::<i64>::try_from(counts).unwrap();
            assert_eq!(counts.len(), 9);
            assert!(counts.iter().all(|count| (count - 1_111).abs() < 130), "{counts:?}");
        }
    }

    /// A square of side n has n² pixels, and half of a side is lost where its centre is in a
    /// corner.
    #[test]
    fn the_erased_area_is_the_square_clipped_at_the_borders() {
        let split = split(200, [3, 32, 32]);
        let drawn = Augmentation::draw(&Augment { cutout: 16, ..Augment::default() }, &split, 0, "retrain", 0);
        let index = Tensor::arange(200, (Kind::Int64, Device::Cpu));
        let zeros = drawn.erased(split.images.shallow_clone(), &index).eq(0.0).sum_dim_intlist(
            [1, 2, 3].as_slice(),
            false,
            Kind::Int64,
        );
        let length = |centre: i64| (centre + 8).min(32) - (centre - 8).max(0);
        let mut whole = 0;
        for image in 0..200 {
            let (y, x) = pair(&drawn.centres, image);
            assert_eq!(zeros.int64_value(&[image]), 3 * length(y) * length(x), "centre {y} {x}");
            whole += i64::from(length(y) * length(x) == 256);
        }
        assert!(whole > 20, "{whole} of 200 squares lie inside; (17 / 32)² of them are expected to");
    }

    #[test]
    fn more_than_the_image_is_refused_with_its_section() {
        assert!(Augment { crop: 4, flip: true, cutout: 16 }.check("retrain", &split(1, [3, 32, 32])).is_ok());
        let error =
            Augment { crop: 32, ..Augment::default() }.check("search", &split(1, [3, 32, 40])).unwrap_err().to_string();
        assert!(
            error.contains("`search.augment`: `crop` = 32 is too much for images of 32 x 40; at most 31"),
            "{error}"
        );
        assert!(Augment { cutout: 33, ..Augment::default() }.check("retrain", &split(1, [3, 32, 32])).is_err());
        let mut waves = split(1, [1, 1, 16]);
        waves.images = waves.images.view([1, 16]);
        assert!(Augment::default().check("retrain", &waves).is_ok());
        let error = Augment { flip: true, ..Augment::default() }.check("retrain", &waves).unwrap_err().to_string();
        assert!(error.contains("it is for images"), "{error}");
    }
}
