/* Keeps a server that would listen on every address, and talk to its makers, to this machine: what is bound to any address
   is bound to the loopback one, and nothing beyond it is reached. To be loaded before the C library (LD_PRELOAD). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*takes_address)(int, const struct sockaddr *, socklen_t);

/* The C library's own; without it nothing may go on. */
static takes_address own(const char *name) {
  takes_address found;
  *(void **)&found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

int bind(int socket, const struct sockaddr *address, socklen_t length) {
  if (address && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in changed;
    memcpy(&changed, address, sizeof changed);
    if (changed.sin_addr.s_addr == htonl(INADDR_ANY)) changed.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return own("bind")(socket, (const struct sockaddr *)&changed, sizeof changed);
  }
  if (address && address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 changed;
    memcpy(&changed, address, sizeof changed);
    if (IN6_IS_ADDR_UNSPECIFIED(&changed.sin6_addr)) changed.sin6_addr = in6addr_loopback;
    return own("bind")(socket, (const struct sockaddr *)&changed, sizeof changed);
  }
  return own("bind")(socket, address, length);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
  int is_outside = 0;
  if (address && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    const struct sockaddr_in *to = (const struct sockaddr_in *)address;
    is_outside = ntohl(to->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET;
  } else if (address && address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    const struct sockaddr_in6 *to = (const struct sockaddr_in6 *)address;
    is_outside = !IN6_IS_ADDR_LOOPBACK(&to->sin6_addr);
  }
  if (is_outside) {
    errno = ENETUNREACH;
    return -1;
  }
  return own("connect")(socket, address, length);
}
