//! The header of an MRD image: 198 bytes, packed to two. Kept as they came, so that what nobody here reads goes back unchanged.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 198;

/// Where the fields stand (ismrmrd.h, version 1).
mod at {
    pub(super) const DATA_TYPE: usize = 2;
    pub(super) const MEASUREMENT: usize = 12;
    pub(super) const MATRIX: usize = 16;
    pub(super) const FIELD_OF_VIEW: usize = 22;
    pub(super) const CHANNELS: usize = 34;
    pub(super) const POSITION: usize = 36;
    pub(super) const READ: usize = 48;
    pub(super) const PHASE: usize = 60;
    pub(super) const SLICE: usize = 72;
    pub(super) const TABLE: usize = 84;
    pub(super) const IMAGE_TYPE: usize = 124;
    pub(super) const SERIES: usize = 128;
    pub(super) const ATTRIBUTES: usize = 194;
}

/// The type of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    U16 = 1,
    I16,
    U32,
    I32,
    F32,
    F64,
    ComplexF32,
    ComplexF64,
}

impl DataType {
    const ALL: [DataType; 8] = [
        DataType::U16,
        DataType::I16,
        DataType::U32,
        DataType::I32,
        DataType::F32,
        DataType::F64,
        DataType::ComplexF32,
        DataType::ComplexF64,
    ];

    pub fn bytes(self) -> usize {
        match self {
            DataType::U16 | DataType::I16 => 2,
            DataType::U32 | DataType::I32 | DataType::F32 => 4,
            DataType::F64 | DataType::ComplexF32 => 8,
            DataType::ComplexF64 => 16,
        }
    }
}

/// What the samples are, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    Magnitude = 1,
    /// Three channels of values 0 to 255.
    Rgb = 6,
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageHeader([u8; HEADER_BYTES]);

impl std::fmt::Debug for ImageHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImageHeader(series {}, {:?})", self.series(), self.matrix())
    }
}

impl ImageHeader {
    pub fn new(bytes: [u8; HEADER_BYTES]) -> ImageHeader {
        ImageHeader(bytes)
    }

    pub fn bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.0
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|n| self.0[at + n]))
    }

    fn triple(&self, at: usize) -> [f64; 3] {
        [0, 4, 8].map(|n| f64::from(f32::from_bits(self.u32(at + n))))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn data_type(&self) -> Option<DataType> {
        let number = self.data_type_number();
        DataType::ALL.into_iter().find(|&known| known as u16 == number)
    }

    pub fn data_type_number(&self) -> u16 {
        self.u16(at::DATA_TYPE)
    }

    /// The scanner's number of the measurement.
    pub fn measurement(&self) -> u32 {
        self.u32(at::MEASUREMENT)
    }

    /// Columns, rows, planes.
    pub fn matrix(&self) -> [u16; 3] {
        [0, 2, 4].map(|n| self.u16(at::MATRIX + n))
    }

    /// Millimetres along columns, rows, planes.
    pub fn field_of_view(&self) -> [f64; 3] {
        self.triple(at::FIELD_OF_VIEW)
    }

    pub fn channels(&self) -> u16 {
        self.u16(at::CHANNELS)
    }

    /// The centre of the slice or volume, LPS mm.
    pub fn position(&self) -> [f64; 3] {
        self.triple(at::POSITION)
    }

    /// Unit vectors (LPS) of readout, phase encoding and slices, as they were acquired.
    pub fn directions(&self) -> [[f64; 3]; 3] {
        [at::READ, at::PHASE, at::SLICE].map(|at| self.triple(at))
    }

    /// Where the patient table stood, mm.
    pub fn table_position(&self) -> [f64; 3] {
        self.triple(at::TABLE)
    }

    pub fn is_magnitude(&self) -> bool {
        self.u16(at::IMAGE_TYPE) == ImageType::Magnitude as u16
    }

    /// The series that the image belongs to.
    pub fn series(&self) -> u16 {
        self.u16(at::SERIES)
    }

    /// How long the attributes are said to be; the number in front of them counts.
    pub fn attribute_bytes(&self) -> u32 {
        self.u32(at::ATTRIBUTES)
    }

    pub fn of_series(mut self, series: u16) -> ImageHeader {
        self.put_u16(at::SERIES, series);
        self
    }

    pub fn of_samples(mut self, samples: DataType) -> ImageHeader {
        self.put_u16(at::DATA_TYPE, samples as u16);
        self
    }

    pub fn with_attribute_bytes(mut self, bytes: usize) -> ImageHeader {
        self.put(at::ATTRIBUTES, &(bytes as u32).to_le_bytes());
        self
    }

    /// A colour picture: planes of red, green and blue.
    pub fn in_colour(mut self) -> ImageHeader {
        const CHANNELS: u16 = 3;
        self.put_u16(at::IMAGE_TYPE, ImageType::Rgb as u16);
        self.put_u16(at::CHANNELS, CHANNELS);
        self.of_samples(DataType::U16)
    }

    /// One plane of another matrix and size, around the same centre.
    pub fn of_plane(mut self, columns: u16, rows: u16, field_of_view: [f32; 3]) -> ImageHeader {
        for (axis, count) in [columns, rows, 1].into_iter().enumerate() {
            self.put_u16(at::MATRIX + 2 * axis, count);
            self.put(at::FIELD_OF_VIEW + 4 * axis, &field_of_view[axis].to_le_bytes());
        }
        self
    }
}
