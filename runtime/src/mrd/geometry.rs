//! Where the pixels of MRD images lie in the patient, and the series that they make.

use super::header::{DataType, ImageHeader};
use super::meta::Meta;
use super::wire::Image;
use kernels::volume::{MAX_VOXELS, add, dot, norm, scale, sub};
use pipeline::{Refusal, RefusalCode, Series, SourceImage, Use};

/// Attributes with the directions of an image's rows and columns as it is shown: along increasing column and increasing row.
pub const SHOWN_DIRECTIONS: [&str; 2] = ["ImageRowDir", "ImageColumnDir"];
/// Directions that are no unit vectors, or not at right angles, within this are none (the tolerance of a DICOM series).
const DIRECTION_TOLERANCE: f64 = 1e-3;

/// A stack made of images, and which of them each of its slices is.
#[derive(Debug)]
pub struct Stack {
    pub series: Series,
    /// By the numbers in `series.sources`.
    origins: Vec<Origin>,
}

/// A plane of an image of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub image: usize,
    pub plane: usize,
}

impl Stack {
    /// The stack of the magnitude images of a list, if the nets can take it.
    pub fn of(images: &[Image]) -> Result<Stack, Refusal> {
        let magnitudes = images.iter().enumerate().filter(|(_, image)| image.header.is_magnitude());
        let (mut slices, mut origins, mut voxels) = (Vec::new(), Vec::new(), 0);
        for (n, image) in magnitudes {
            voxels += image.header.matrix().map(usize::from).iter().product::<usize>();
            if voxels > MAX_VOXELS {
                let text = format!("the series has more than {MAX_VOXELS} voxels");
                return Err(Refusal::new(RefusalCode::TooLarge, text));
            }
            let planes = planes(image, origins.len()).map_err(|refusal| Refusal {
                text: format!("image {} of {}: {}", n + 1, images.len(), refusal.text),
                ..refusal
            })?;
            origins.extend((0..planes.len()).map(|plane| Origin { image: n, plane }));
            slices.extend(planes);
        }
        let series = Series::stack(slices, Use::Exam)?;
        series.admit(Use::Exam)?;
        Ok(Stack { series, origins })
    }

    /// Where slice `k` of the volume came from.
    pub fn origin(&self, k: usize) -> Origin {
        self.origins[self.series.sources[k]]
    }
}

/// The planes of an image, the first of them number `first` of all.
fn planes(image: &Image, first: usize) -> Result<Vec<SourceImage>, Refusal> {
    let header = &image.header;
    let [columns, rows, count] = header.matrix().map(usize::from);
    if header.channels() != 1 {
        let text = format!("{} channels; a magnitude image has one", header.channels());
        return Err(Refusal::new(RefusalCode::UnreadablePixels, text));
    }
    let [row, column, across] = directions(image)?;
    let [dx, dy, dz] = spacing(header)?;
    let [x, y, z] = [columns, rows, count].map(|n| (n - 1) as f64 / 2.0);
    // The header has the centre of the whole; ours is the centre of the first pixel.
    let corner = add(scale(row, x * dx), scale(column, y * dy));
    let corner = sub(header.position(), corner);
    let pixels = samples(image)?;
    let plane = |k: usize| SourceImage {
        source: first + k,
        columns,
        rows,
        spacing_mm: [dx, dy],
        orientation: [row, column],
        position: add(corner, scale(across, (k as f64 - z) * dz)),
        pixels: pixels[k * columns * rows..(k + 1) * columns * rows].to_vec(),
    };
    Ok((0..count).map(plane).collect())
}

/// Unit vectors along increasing column, row and plane. The header tells how the image was acquired; where it was turned since,
/// attributes tell how it lies.
fn directions(image: &Image) -> Result<[[f64; 3]; 3], Refusal> {
    let wrong = |text: &str| Refusal::new(RefusalCode::MissingGeometry, text);
    let meta = Meta::read(&image.attributes)
        .ok_or_else(|| wrong("its attributes are no XML, so that nobody knows how it lies"))?;
    let [read, phase, slice] = image.header.directions();
    let [row, column] = SHOWN_DIRECTIONS.map(|name| meta.triple(name));
    let found = [row.unwrap_or(read), column.unwrap_or(phase), slice];
    let is_unit = |v: &[f64; 3]| (norm(*v) - 1.0).abs() <= DIRECTION_TOLERANCE;
    let is_flat = image.header.matrix()[2] == 1;
    let needed = if is_flat { &found[..2] } else { &found[..] };
    if !needed.iter().all(is_unit) || dot(found[0], found[1]).abs() > DIRECTION_TOLERANCE {
        return Err(wrong("its directions are no unit vectors at right angles"));
    }
    Ok(found)
}

/// Millimetres between columns, rows and planes.
fn spacing(header: &ImageHeader) -> Result<[f64; 3], Refusal> {
    let (size, matrix) = (header.field_of_view(), header.matrix());
    let spacing = [0, 1, 2].map(|axis| size[axis] / f64::from(matrix[axis]));
    let is_length = |mm: &f64| mm.is_finite() && *mm > 0.0;
    if !spacing[..2].iter().all(is_length) || (matrix[2] > 1 && !is_length(&spacing[2])) {
        let text = "its field of view is not positive";
        return Err(Refusal::new(RefusalCode::MissingGeometry, text));
    }
    Ok(spacing)
}

/// The samples as intensities; what is no number is 0.
fn samples(image: &Image) -> Result<Vec<f32>, Refusal> {
    fn each<const N: usize>(bytes: &[u8], read: fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
    }
    let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
    let bytes = image.pixels.as_slice();
    let values = match image.header.data_type() {
        Some(DataType::U16) => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
        Some(DataType::I16) => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
        Some(DataType::U32) => each(bytes, |b| u32::from_le_bytes(b) as f32),
        Some(DataType::I32) => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Some(DataType::F32) => each(bytes, f32::from_le_bytes),
        Some(DataType::F64) => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Some(DataType::ComplexF32 | DataType::ComplexF64) | None => {
            let text = "its samples are complex; send magnitudes";
            return Err(Refusal::new(RefusalCode::UnreadablePixels, text));
        }
    };
    Ok(values.into_iter().map(finite).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrd::header::HEADER_BYTES;

    /// A sagittal image of 128 x 160 (1 mm, 0.5 mm) centred at x = `x`, rows to posterior and columns down; `planes` of 4 mm.
    fn image(x: f32, planes: u16) -> Image {
        let mut bytes = [0; HEADER_BYTES];
        for (at, value) in [(2, 2u16), (16, 128), (18, 160), (20, planes), (34, 1), (124, 1)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        let numbers = [
            (22, [128.0, 80.0, 4.0 * f32::from(planes)]),
            (36, [x, 10.0, 20.0]),
            (48, [0.0, 1.0, 0.0]),
            (60, [0.0, 0.0, -1.0]),
            (72, [-1.0, 0.0, 0.0]),
        ];
        for (at, triple) in numbers {
            for (n, value) in triple.into_iter().enumerate() {
                bytes[at + 4 * n..at + 4 * n + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        let pixels = vec![1; 2 * 128 * 160 * usize::from(planes)];
        Image { header: ImageHeader::new(bytes), attributes: Vec::new(), pixels }
    }

    fn refused(images: &[Image]) -> RefusalCode {
        Stack::of(images).expect_err("must be refused").code
    }

    #[test]
    fn the_centre_of_an_image_becomes_the_centre_of_its_first_pixel() {
        let images: Vec<Image> = [8.0, 0.0, 4.0, 16.0, 12.0].map(|x| image(x, 1)).to_vec();
        let stack = Stack::of(&images).unwrap();
        let affine = stack.series.volume.grid().affine;
        // The normal points to the right: the leftmost slice comes first.
        assert_eq!(affine.world([0.0; 3]), [16.0, 10.0 - 63.5, 20.0 + 39.75]);
        assert_eq!(affine.axes(), [[0.0, 1.0, 0.0], [0.0, 0.0, -0.5], [-4.0, 0.0, 0.0]]);
        assert_eq!([0, 1, 2, 3, 4].map(|k| stack.origin(k).image), [3, 4, 0, 2, 1]);
        assert_eq!(stack.series.volume.slice(0)[0], 257.0);
    }

    #[test]
    fn the_planes_of_one_image_lie_where_single_slices_would() {
        let whole = Stack::of(&[image(8.0, 5)]).unwrap();
        let single: Vec<Image> = [16.0, 12.0, 8.0, 4.0, 0.0].map(|x| image(x, 1)).to_vec();
        let single = Stack::of(&single).unwrap();
        assert_eq!(whole.series.volume.grid(), single.series.volume.grid());
        assert_eq!(whole.origin(4), Origin { image: 0, plane: 4 });
    }

    #[test]
    fn attributes_tell_how_a_turned_image_lies() {
        let mut meta = Meta::default();
        meta.set("ImageRowDir", ["0", "0", "-1"]);
        meta.set("ImageColumnDir", ["0", "1", "0"]);
        let turned = |x| Image { attributes: meta.write(), ..image(x, 1) };
        let images: Vec<Image> = [0.0, 4.0, 8.0, 12.0, 16.0].map(turned).to_vec();
        let stack = Stack::of(&images).unwrap();
        assert_eq!(stack.series.volume.grid().affine.axes()[0], [0.0, 0.0, -1.0]);
        assert_eq!(stack.series.volume.grid().affine.axes()[1], [0.0, 0.5, 0.0]);
    }

    #[test]
    fn what_has_no_place_or_no_magnitude_is_refused_by_name() {
        let five = |change: &dyn Fn(&mut Image)| {
            let mut images = [0.0, 4.0, 8.0, 12.0, 16.0].map(|x| image(x, 1)).to_vec();
            change(&mut images[2]);
            images
        };
        let with = |at: usize, bytes: &[u8]| {
            refused(&five(&|image| {
                let mut header = *image.header.bytes();
                header[at..at + bytes.len()].copy_from_slice(bytes);
                image.header = ImageHeader::new(header);
            }))
        };
        assert_eq!(with(48, &[0; 12]), RefusalCode::MissingGeometry, "no direction");
        assert_eq!(with(22, &f32::NAN.to_le_bytes()), RefusalCode::MissingGeometry, "no size");
        assert_eq!(with(2, &[7, 0]), RefusalCode::UnreadablePixels, "complex");
        assert_eq!(with(34, &[3, 0]), RefusalCode::UnreadablePixels, "three channels");
        assert_eq!(with(124, &[2, 0]), RefusalCode::TooFewSlices, "a phase image is no slice");
        let broken = five(&|image| image.attributes = b"\xff".to_vec());
        assert_eq!(refused(&broken), RefusalCode::MissingGeometry);
        assert_eq!(refused(&[]), RefusalCode::TooFewSlices);
    }
}
