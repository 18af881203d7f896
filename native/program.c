/* Owns the pages of this process's own program: those that only its start used are given back. */
#include "core.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

struct release {
  size_t part, parts;
  size_t len;
};

/* The part of a segment's whole pages; what is written to is never touched: it would be lost. */
static void release_segment(const struct dl_phdr_info *object, const ElfW(Phdr) * segment,
                            struct release *release) {
  if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0) return;
  const uintptr_t page_len = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t begin = object->dlpi_addr + segment->p_vaddr, end = begin + segment->p_memsz;
  const uintptr_t first = (begin + page_len - 1) / page_len, past = end / page_len;
  if (past <= first) return;
  const uintptr_t from = first + (past - first) * release->part / release->parts;
  const uintptr_t to = first + (past - first) * (release->part + 1) / release->parts;
  /* Refused where somebody has locked them: they stay then. */
  if (madvise((void *)(from * page_len), (to - from) * page_len, MADV_DONTNEED) == 0)
    release->len += (to - from) * page_len;
}

/* The first object is the program itself. */
static int release_object(struct dl_phdr_info *object, size_t info_len, void *context) {
  (void)info_len;
  for (size_t i = 0; i < object->dlpi_phnum; i += 1)
    release_segment(object, &object->dlpi_phdr[i], context);
  return 1;
}

size_t program_release(size_t part, size_t parts) {
  struct release release = {.part = part, .parts = parts};
  dl_iterate_phdr(release_object, &release);
  return release.len;
}
