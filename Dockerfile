# Kolbak with production dependencies only. `docker build -t kolbak .`
FROM node:24-slim AS dependencies
WORKDIR /kolbak
COPY package.json package-lock.json ./
RUN npm ci --omit=dev

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 KOLBAK_DATA_DIR=/data
WORKDIR /kolbak
COPY --from=dependencies --chown=node:node /kolbak/node_modules node_modules
COPY package.json LICENSE ./
COPY src src
COPY docs/verify.mjs docs/verify.mjs
# The dashboard is bundled here, so that no process of the image has to load the bundler.
RUN node src/ui/build.ts
# Only the embedded Postgres and generated keys are kept here: with DATABASE_URL and both keys given nothing is written.
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then((a) => process.exit(a.ok ? 0 : 1), () => process.exit(1))"]
# Whether it can do its work, with its engines, is /health/ready: for load balancers, not for restarts.
# Node itself is the process, so that SIGTERM reaches it and it drains. It has the flags of `npm start` (decision 50).
CMD ["node", "--min-semi-space-size=16", "--max-semi-space-size=16", "--no-allocation-site-pretenuring", "src/main.ts"]
