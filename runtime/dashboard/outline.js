// Outlines of a slice's bodies, discs and sacrum: lines through the middle between voxels (marching squares).

const [SACRUM, BODY, DISC] = [26, 49, 100];
/** The ends of the lines for each case of the four corners: 1 top left, 2 top right, 4 bottom right, 8 bottom left. */
const [TOP, RIGHT, BOTTOM, LEFT] = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];
const CASES = [
  [], [LEFT, TOP], [TOP, RIGHT], [LEFT, RIGHT], [RIGHT, BOTTOM], [LEFT, TOP, RIGHT, BOTTOM], [TOP, BOTTOM],
  [LEFT, BOTTOM], [BOTTOM, LEFT], [TOP, BOTTOM], [TOP, RIGHT, BOTTOM, LEFT], [RIGHT, BOTTOM], [LEFT, RIGHT],
  [TOP, RIGHT], [LEFT, TOP], [],
];

/** Structure -> path, in voxels from the outer corner of the first. */
export function outlines({ semantic, instances }, columns) {
  const paths = new Map([SACRUM, BODY, DISC].map((structure) => [structure, new Path2D()]));
  // Two neighbours that touch are two.
  const label = (n) => (paths.has(semantic[n]) ? semantic[n] * 256 + instances[n] : 0);
  for (let n = 0; n + columns + 1 < semantic.length; n++) {
    const x = n % columns;
    if (x === columns - 1) continue;
    const corners = [label(n), label(n + 1), label(n + columns + 1), label(n + columns)];
    if (corners[0] === corners[1] && corners[1] === corners[2] && corners[2] === corners[3]) continue;
    for (const own of new Set(corners)) {
      if (!own) continue;
      const bits = corners.reduce((sum, corner, bit) => sum + (corner === own ? 1 << bit : 0), 0);
      add(paths.get(own >> 8), CASES[bits], x + 0.5, Math.floor(n / columns) + 0.5);
    }
  }
  return paths;
}

function add(path, ends, x, y) {
  for (let n = 0; n < ends.length; n += 2) {
    path.moveTo(x + ends[n][0], y + ends[n][1]);
    path.lineTo(x + ends[n + 1][0], y + ends[n + 1][1]);
  }
}
