/* Owns the pages of this process's own program: those that only its start used are given back. */
#include "core.h"

#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ranges_max = 16 };

struct range {
  uintptr_t begin, end;
};

/* Of the program, in whole pages, what is never written to: what was written would be lost. */
struct segments {
  size_t count;
  struct range ranges[ranges_max];
};

static int take_segments(struct dl_phdr_info *object, size_t info_len, void *context) {
  (void)info_len;
  struct segments *segments = context;
  const uintptr_t page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
  for (size_t i = 0; i < object->dlpi_phnum && segments->count < ranges_max; i += 1) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0) continue;
    const uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
    segments->ranges[segments->count] =
        (struct range){(begin + ~page_mask) & page_mask, (begin + segment->p_memsz) & page_mask};
    segments->count += 1;
  }
  return 1; /* the first object is the program itself */
}

/* That part of a range of whole pages. */
static struct range part_of(struct range range, size_t part, size_t parts) {
  const uintptr_t page_len = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t pages = range.end > range.begin ? (range.end - range.begin) / page_len : 0;
  return (struct range){range.begin + pages * part / parts * page_len,
                        range.begin + pages * (part + 1) / parts * page_len};
}

/* Where both are mapped. Refused where somebody has locked the pages: they stay then. */
static size_t release_common(struct range a, struct range b) {
  const uintptr_t begin = a.begin > b.begin ? a.begin : b.begin, end = a.end < b.end ? a.end : b.end;
  if (end <= begin || madvise((void *)begin, end - begin, MADV_DONTNEED) != 0) return 0;
  return end - begin;
}

size_t program_release(size_t part, size_t parts) {
  struct segments segments = {0};
  dl_iterate_phdr(take_segments, &segments);
  char program[PATH_MAX];
  const ssize_t program_len = readlink("/proc/self/exe", program, sizeof program - 1);
  FILE *maps = fopen("/proc/self/maps", "re");
  if (program_len <= 0 || maps == NULL) {
    if (maps != NULL) fclose(maps);
    return 0;
  }
  program[program_len] = 0;
  size_t len = 0, line_room = 0;
  char *line = NULL;
  while (getline(&line, &line_room, maps) > 0) {
    struct range mapped;
    int name_at = 0;
    /* Only what is still the file's: code that was moved to large pages without a file would be zeros. */
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &mapped.begin, &mapped.end, &name_at) !=
        2)
      continue;
    line[strcspn(line, "\n")] = 0;
    if (name_at == 0 || strcmp(line + name_at, program) != 0) continue;
    for (size_t i = 0; i < segments.count; i += 1)
      len += release_common(mapped, part_of(segments.ranges[i], part, parts));
  }
  free(line);
  fclose(maps);
  return len;
}
