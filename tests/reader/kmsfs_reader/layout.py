"""Where everything is: the arithmetic of FORMAT.md, section 2."""

PAGE = 4096
CHUNK = 4096
SECTOR = 512
SLOT = 1024
ENTRIES = 8
"""Chunks that one tag sector describes."""

FIRST_CHUNKS = 32
"""Chunks of segment 0."""
SEGMENT_CHUNKS = 64
"""Chunks of every other segment."""
GROUP_SEGMENTS = 16384
SECTOR_SEGMENTS = 2048
"""Segments that one index sector describes."""
INDEX_SECTORS = 8
FIRST_SIZE = FIRST_CHUNKS * CHUNK
"""What fits into segment 0, and so into a file without an index page."""
LARGEST = 1 << 44


def segment_of(chunk: int) -> int:
    """The segment that holds a chunk."""
    return 0 if chunk < FIRST_CHUNKS else 1 + (chunk - FIRST_CHUNKS) // SEGMENT_CHUNKS


def first_chunk(segment: int) -> int:
    """The first chunk of a segment."""
    return 0 if segment == 0 else FIRST_CHUNKS + SEGMENT_CHUNKS * (segment - 1)


def chunks_of(segment: int) -> int:
    """How many chunks a segment has room for."""
    return FIRST_CHUNKS if segment == 0 else SEGMENT_CHUNKS


def tag_sectors(segment: int) -> int:
    """How many tag sectors a segment has."""
    return chunks_of(segment) // ENTRIES


def group_of(segment: int) -> int:
    """The group of a segment other than 0."""
    return (segment - 1) // GROUP_SEGMENTS


def number_in_group(segment: int) -> int:
    """The number of a segment other than 0 within its group."""
    return (segment - 1) % GROUP_SEGMENTS


def first_segment(group: int) -> int:
    """The first segment of a group."""
    return 1 + GROUP_SEGMENTS * group


def index_page(group: int) -> int:
    """The backing offset of a group's index page."""
    return PAGE * (33 + group * (1 + GROUP_SEGMENTS * 65))


def tags(segment: int) -> int:
    """The backing offset of a segment's first tag sector."""
    if segment == 0:
        return 2 * SLOT
    return index_page(group_of(segment)) + PAGE * (1 + 65 * number_in_group(segment))


def chunk_at(chunk: int) -> int:
    """The backing offset of a chunk."""
    if chunk < FIRST_CHUNKS:
        return PAGE * (1 + chunk)
    segment = segment_of(chunk)
    return tags(segment) + PAGE * (1 + chunk - first_chunk(segment))


def groups_of(size: int) -> int:
    """How many groups a file of a plain size has."""
    return 0 if size <= FIRST_SIZE else -(-(size - FIRST_SIZE) // (GROUP_SEGMENTS * SEGMENT_CHUNKS * CHUNK))


def chunks(size: int) -> int:
    """How many chunks, the last perhaps short, a plain size has."""
    return -(-size // CHUNK)


def length_of(chunk: int, size: int) -> int:
    """The length that a plain size gives a chunk, 0 behind the end."""
    return max(0, min(CHUNK, size - CHUNK * chunk))


def backing_size(size: int) -> int:
    """The size of the backing file of a plain size."""
    if size == 0:
        return PAGE
    return chunk_at((size - 1) // CHUNK) + 1 + (size - 1) % CHUNK


def plain_size(backing: int) -> int:
    """The greatest plain size whose backing file is no longer than this. `backing` is at least a page."""
    low, high = 0, min(backing, LARGEST)
    while low < high:
        middle = (low + high + 1) // 2
        if backing_size(middle) <= backing:
            low = middle
        else:
            high = middle - 1
    return low
