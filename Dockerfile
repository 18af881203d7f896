# For those who build with Docker or its like: the same tree as make image, by the same script.
FROM node:26-bookworm AS build
WORKDIR /src
COPY . .
RUN tools/machine.sh image && tools/machine.sh modules && make -s -C native && tools/image.sh tree

FROM scratch
COPY --from=build /src/build/image/base/ /
COPY --from=build /src/build/image/app/ /
LABEL org.opencontainers.image.title=fairlead org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/usr/bin
WORKDIR /
ENTRYPOINT ["/usr/bin/fairlead"]
