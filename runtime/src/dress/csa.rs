//! Siemens' private protocol text (ASCCONV) and the `SV10` container that carries it in classic objects.
//!
//! Layout as written by syngo MR D and E and read by nibabel (`nicom/csareader.py`) and dcm2niix: magic, tag count,
//! then tags of a 64-byte name, multiplicity, VR and items whose length stands four times before the bytes. Only what a
//! receiver counts slices by is filled in.

/// Closes every tag and item header.
const CHECK: u32 = 77;

/// The protocol text of a 2D series. The numbers are tab-separated as on the console.
pub(super) fn protocol(slices: u16, protocol_name: &str, version: u32) -> String {
    let lines = [
        ("ulVersion", version.to_string()),
        ("tProtocolName", format!("\"\"{protocol_name}\"\"")),
        ("sSliceArray.lSize", slices.to_string()),
        ("sSliceArray.lSag", slices.to_string()),
        ("sSliceArray.lConc", "1".to_owned()),
        ("sKSpace.ucDimension", "0x2".to_owned()),
        ("lContrasts", "1".to_owned()),
    ];
    let body: String = lines.iter().map(|(key, value)| format!("{key}\t = \t{value}\n")).collect();
    format!(
        "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version={version} \
         converter=%MEASCONST%/ConverterList/Prot_Converter.txt ###\n{body}### ASCCONV END ###"
    )
}

/// A CSA series header with the protocol in its `MrPhoenixProtocol` tag.
pub(super) fn series_header(protocol: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"SV10\x04\x03\x02\x01");
    words(&mut out, &[1, CHECK]);
    let mut name = [0u8; 64];
    let tag = b"MrPhoenixProtocol";
    name[..tag.len()].copy_from_slice(tag);
    out.extend(name);
    words(&mut out, &[1]); // one value
    out.extend(b"UN\0\0");
    words(&mut out, &[0, 1, CHECK]); // syngo type, one item
    let mut text = protocol.as_bytes().to_vec();
    text.push(0);
    let length = u32::try_from(text.len()).expect("a protocol text is a few hundred bytes");
    words(&mut out, &[length, length, CHECK, length]);
    out.extend(text);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn words(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|v| out.extend(v.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_holds_the_slice_count() {
        let header = series_header(&protocol(17, "t2_tse_sag", 51_130_001));
        assert_eq!(header.len() % 4, 0);
        let text = String::from_utf8_lossy(&header);
        assert!(text.starts_with("SV10") && text.contains("sSliceArray.lSize\t = \t17\n"));
    }
}
